"""A block of a package that pip really installed is found, with nothing but its name in the JSON."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PACKAGE = Path(__file__).parent.parent / "packages" / "voxstack-slow-encoders"
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from voxstack.runtimes.ort import OrtRuntime
from voxstack.stack.addon import load_addon
from voxstack.stack.wire import wire_stack
from voxstack.testing.nets import open_net

addon = load_addon(Path(sys.argv[1]))
runtime = OrtRuntime(threads=1)
nets = {name: open_net(runtime, spec, addon.read(spec.file)) for name, spec in addon.specs.items()}
block = wire_stack(json.loads(sys.argv[2]), nets=nets, tensors=addon.request, frame_rate=addon.frame_rate)
tensors = {"ids": np.array([1, 2]), "speed": np.array(1, np.float32)}
print(len(block.open(tensors, None).read(1000)["mel"]))
"""


def frames(addon: Path, stack: str, *path: Path) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(addon), stack],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_an_installed_block_is_a_one_word_change(tone, tmp_path):
    source = shutil.copytree(PACKAGE, tmp_path / "source")  # a build writes beside its sources
    target = tmp_path / "site"
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", *offline, "--target", target, source], check=True
    )
    stack = json.dumps(json.loads((tone("two") / "addon.json").read_text())["stack"])
    changed = stack.replace("Encoders", "SlowEncoders")
    assert frames(tone("two"), stack) == "13"
    assert frames(tone("two"), changed, target) == "26"
    assert frames(tone("two"), changed).endswith(
        "$.stack[0].sequence_block.type: no block 'SlowEncoders'; did you mean 'Encoders'?"
    )
