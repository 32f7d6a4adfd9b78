"""A processor is told by its machine's name and, under Linux on x86, by its features."""

import platform

import pytest

from voxstack.engine import processor

pytestmark = pytest.mark.unit

X86 = """processor\t: 0
model name\t: Some 512 avx512f
flags\t\t: fpu sse avx2 avx512_bf16
vmx flags\t: amx_tile

processor\t: 1
flags\t\t: fpu sse avx2 avx512f
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd\n"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    def become(name, cpuinfo):
        path = tmp_path / f"{name}-cpuinfo"
        if cpuinfo is not None:
            path.write_text(cpuinfo)
        monkeypatch.setattr(processor, "CPUINFO", path)
        monkeypatch.setattr(platform, "machine", lambda: name)

    return become


def test_features_are_told_in_the_order_asked_and_no_others(machine):
    machine("x86_64", X86)
    assert processor.kind(("avx512_bf16", "avx2", "avx512f", "amx_tile")) == "x86_64 avx512_bf16 avx2"
    assert processor.kind(()) == "x86_64"


@pytest.mark.parametrize(("name", "cpuinfo"), [("aarch64", ARM), ("AMD64", None), ("arm64", "")])
def test_elsewhere_the_machine_s_name_stands_alone(machine, name, cpuinfo):
    machine(name, cpuinfo)
    assert processor.kind(("avx2", "avx512f")) == name
