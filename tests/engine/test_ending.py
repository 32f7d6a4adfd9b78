"""A program ends cleanly whatever its voices are doing, and one that is forked speaks on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SOON_S = 30
"""How long a program may take, its start and loading a voice included; it takes a few seconds."""

JOE = Path(__file__).parents[2] / "addons" / "joe"

BEGIN = """
import contextlib, os, sys, threading, time
import voxstack
from voxstack.core.errors import Cancelled
voice = voxstack.load(sys.argv[1], folders=[sys.argv[2]])
TEXT = "abc def. " * 400
"""

STREAMS = """
speeches = [voice.stream(TEXT, seed=seed) for seed in range(8)]
for speech in speeches:
    next(speech)
"""

LISTENERS = """
def listen(place):
    with contextlib.suppress(Cancelled):  # what is said when the program ends
        while True:
            if place % 2:
                voice.say(TEXT)
            else:
                list(voice.stream(TEXT))

for place in range(8):
    threading.Thread(target=listen, args=(place,), daemon=True).start()
time.sleep(0.3)
"""

SERVICE = """
from voxstack import Admission, Service, Voices
service = Service(Voices([sys.argv[2]]), Admission(8))
speeches = [service.stream(sys.argv[1], TEXT, deadline_s=100) for _ in range(8)]
next(speeches[0])

def reload():
    with contextlib.suppress(RuntimeError):  # no new threads for a program that ends
        service.voices.reload(sys.argv[1])

threading.Thread(target=reload).start()
"""

FORK = """
import numpy as np
del voice  # its nets have threads of the engine's own
service = voxstack.Service(voxstack.Voices([sys.argv[2]]))
whole = service.say(sys.argv[1], "abc def.").samples
speeches = [service.stream(sys.argv[1], TEXT, seed=seed, deadline_s=100) for seed in range(8)]
for speech in speeches:
    next(speech)
for speech in speeches:
    speech.close()
child = os.fork()
if child == 0:
    for _ in range(3):
        chunks = list(service.stream(sys.argv[1], "abc def.", deadline_s=10))
        assert np.array_equal(np.concatenate([chunk.samples for chunk in chunks]), whole)
    try:
        list(service.stream(sys.argv[1], TEXT * 20, deadline_s=0.05))
    except voxstack.DeadlineError:
        os._exit(7)
    os._exit(1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
"""


@pytest.fixture(params=["tone", "joe"])
def voice(request, tone, tmp_path):
    """The name of a voice, and a folder where it is."""
    if request.param == "joe":
        if not JOE.is_dir():
            pytest.skip("the demo voice is not imported")
        return "joe", JOE.parent
    (tmp_path / "tone").symlink_to(tone("two"))
    (tmp_path / "tone-vocoder").symlink_to(tone("vocoder"))
    return "tone", tmp_path


def run(program, voice):
    """Run a program to its end; return its exit code and what it wrote."""
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + program, *map(str, voice)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    ) as running:
        try:
            said, _ = running.communicate(timeout=SOON_S)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)  # its children too
            raise
    return running.returncode, said


@pytest.mark.parametrize("program", [STREAMS, LISTENERS, SERVICE], ids=["streams", "listeners", "service"])
def test_a_program_ends_cleanly_while_eight_streams_are_at_work(program, voice):
    assert run(program, voice) == (0, "")


def test_a_program_that_fails_while_streams_are_at_work_says_so_and_ends(voice):
    code, said = run(STREAMS + "raise SystemExit(3)", voice)
    assert (code, said) == (3, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_of_a_program_that_has_spoken_can_speak_too(voice):
    assert run(FORK, voice) == (0, "")
