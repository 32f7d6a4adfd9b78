"""A name finds its block; an unknown one finds the nearest name."""

from pathlib import Path

import pytest

from voxstack.core.errors import ConfigError
from voxstack.core.registry import GROUP, Registry, versioned

pytestmark = pytest.mark.unit

NAMES = {
    "Upsampler.v1": "fractions:Fraction",
    "Upsampler.v2": "decimal:Decimal",
    "Encoders.v1": "collections:OrderedDict",
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package as pip does: its entry points lie beside it on the path."""

    def add(package: str, entry_points: str, module: str = "") -> None:
        root = tmp_path / package
        info = root / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entry_points}\n")
        if module:
            Path(root / f"{package}.py").write_text(module)
        monkeypatch.syspath_prepend(str(root))

    return add


def find_fault(registry: Registry, name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        registry.find(name, path="$.stack[0].type")
    return str(caught.value)


def test_a_name_without_a_version_means_version_1_for_ever():
    assert versioned("Upsampler") == "Upsampler.v1"
    assert versioned("Upsampler.v2") == "Upsampler.v2"
    assert versioned("Upsampler.v0") == "Upsampler.v0.v1"
    registry = Registry(NAMES)
    assert registry.find("Upsampler", path="$").__name__ == "Fraction"
    assert registry.find("Upsampler.v1", path="$").__name__ == "Fraction"
    assert registry.find("Upsampler.v2", path="$").__name__ == "Decimal"


def test_an_unknown_name_is_refused_with_its_path_and_the_nearest_name():
    assert (
        find_fault(Registry(NAMES), "Encoder")
        == "$.stack[0].type: no block 'Encoder'; did you mean 'Encoders'?"
    )


def test_an_unknown_version_is_refused_with_one_that_is_there():
    assert find_fault(Registry(NAMES), "Upsampler.v3") == (
        "$.stack[0].type: no block 'Upsampler.v3'; did you mean 'Upsampler.v2'?"
    )


def test_a_name_like_none_is_refused_with_all_names():
    assert find_fault(Registry(NAMES, group="voxstack.none"), "Zzz") == (
        "$.stack[0].type: no block 'Zzz'; known: Encoders, Upsampler, Upsampler.v2"
    )


def test_packages_add_names_through_the_entry_point(install):
    install(
        "vox_extra",
        "Extra = vox_extra:Extra\nExtra.v2 = vox_extra:Better",
        "class Extra: ...\nclass Better: ...",
    )
    registry = Registry(NAMES)
    assert registry.find("Extra", path="$").__name__ == "Extra"
    assert registry.find("Extra.v2", path="$").__name__ == "Better"
    assert {"Extra.v1", "Extra.v2", *NAMES} <= set(registry.names())


def test_nothing_of_a_package_is_imported_before_it_is_asked_for(install):
    install("vox_boom", "Boom = vox_boom:Boom", "raise RuntimeError('imported too early')")
    assert "Boom.v1" in Registry(NAMES).names()


def test_a_package_cannot_take_a_name_that_is_taken(install):
    install("vox_thief", "Encoders = vox_thief:Encoders")
    registry = Registry(NAMES)
    told = (
        f"entry point {GROUP}: 'vox_thief:Encoders' wants the name 'Encoders.v1', which is taken; "
        "rename that block"
    )
    for _ in range(2):  # the same the second time: a half-read list must not blame another package
        assert find_fault(registry, "Zzz") == told
    assert registry.find("Encoders", path="$").__name__ == "OrderedDict"


def test_two_packages_cannot_take_the_same_name(install):
    install("vox_one", "Extra = vox_one:Extra")
    install("vox_two", "Extra.v1 = vox_two:Extra")
    assert "wants the name 'Extra.v1', which is taken; rename that block" in find_fault(
        Registry(NAMES), "Zzz"
    )


def test_a_package_that_fails_in_its_own_way_is_told_the_same(install):
    install("vox_odd", "Odd = vox_odd:Odd", "raise RuntimeError('no licence key')")
    assert "block 'Odd' is registered but cannot be imported: no licence key" in find_fault(
        Registry(NAMES), "Odd"
    )


def test_a_block_whose_package_cannot_be_imported_is_refused_with_the_reason(install):
    install("vox_torn", "Torn = vox_torn:Torn", "import a_module_that_is_not_there")
    assert find_fault(Registry(NAMES), "Torn") == (
        "$.stack[0].type: block 'Torn' is registered but cannot be imported: "
        "No module named 'a_module_that_is_not_there'; mend or remove its package"
    )
