"""A real voice in a service: its bytes, a deadline that stops a real net, a reload under its listeners."""

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from voxstack.core.errors import DeadlineError
from voxstack.engine.admission import Admission
from voxstack.engine.service import Service
from voxstack.engine.voices import Voices

pytestmark = pytest.mark.slow

JOE = Path(__file__).parents[2] / "addons" / "joe"
TEXT = "The birch canoe slid on the smooth planks."
PATIENCE_S = 60


@pytest.fixture
def addons(tmp_path):
    if not JOE.is_dir():
        pytest.skip("the demo voice is not imported")
    shutil.copytree(JOE, tmp_path / "joe")
    return tmp_path


def test_joe_is_counted_reloaded_under_load_and_stopped_in_time(addons):
    with Service(Voices([addons]), Admission(8)) as service:
        whole = service.say("joe", TEXT).samples
        nets = sum(path.stat().st_size for path in (addons / "joe" / "nets").iterdir())
        assert service.voices.in_use_bytes == nets
        stop, ended = threading.Event(), threading.Semaphore(0)
        heard = []

        def listen():
            while not stop.is_set():
                chunks = list(service.stream("joe", TEXT, deadline_s=PATIENCE_S))
                heard.append(np.concatenate([chunk.samples for chunk in chunks]))
                ended.release()

        with ThreadPoolExecutor(2) as pool:
            listeners = [pool.submit(listen) for _ in range(2)]
            for _ in range(3):
                os.utime(addons / "joe" / "addon.json")
                assert service.voices.reload_changed().names == ("joe",)
                for _ in range(3):
                    assert ended.acquire(timeout=PATIENCE_S)
            stop.set()
            for one in listeners:
                one.result(PATIENCE_S)
        for samples in heard:
            np.testing.assert_array_equal(samples, whole)
        assert service.voices.in_use_bytes == nets  # of all versions: their nets are the same

        begun = time.monotonic()
        speech = service.stream("joe", TEXT * 50, deadline_s=0.3)
        with pytest.raises(DeadlineError) as late:
            for _ in speech:
                pass
        assert time.monotonic() - begun < PATIENCE_S / 4
        assert late.value.made_s > 0
        for request in tuple(service._requests):
            assert request.over.wait(PATIENCE_S)
        assert service.at_work == 0
    assert service.voices.in_use_bytes == 0
