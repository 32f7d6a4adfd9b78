"""A captured net copies what it is given, replays, and gives copies: tested with a capture on the CPU."""

from concurrent.futures import ThreadPoolExecutor

import pytest

torch = pytest.importorskip("torch", reason="the extra 'torch' is not installed")

from voxstack.runtimes.torch_nets.captures import Captured  # noqa: E402 - behind the skip

pytestmark = pytest.mark.unit


class Recorder:
    """What a CUDA graph does, on the CPU: it fills the same tensors again each time it is replayed."""

    def __init__(self) -> None:
        self.replays = 0

    def capture(self, run):
        outputs = run()

        def replay():
            self.replays += 1
            for mine, new in zip(outputs, run(), strict=True):
                mine.copy_(new)

        return replay, outputs


def double(x, bias):
    return 2 * x + bias, x.sum()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def captured(recorder) -> Captured:
    return Captured(double, [torch.zeros(3), torch.zeros(())], recorder.capture)


def test_a_run_is_a_replay_on_what_was_given(captured, recorder):
    y, total = captured(torch.tensor([1.0, 2.0, 3.0]), torch.tensor(1.0))
    assert (y.tolist(), total.item()) == ([3, 5, 7], 6)
    assert recorder.replays == 1


def test_a_result_stays_as_it_was_when_the_graph_runs_again(captured):
    first, _ = captured(torch.ones(3), torch.tensor(0.0))
    captured(torch.full((3,), 9.0), torch.tensor(0.0))
    assert first.tolist() == [2, 2, 2]


def test_what_is_given_is_not_changed_and_the_examples_are_not_held(recorder):
    example, given = torch.zeros(3), torch.ones(3)
    captured = Captured(double, [example, torch.zeros(())], recorder.capture)
    captured(given, torch.tensor(0.0))
    assert example.tolist() == [0, 0, 0]
    assert given.tolist() == [1, 1, 1]


def test_many_threads_take_turns(captured):
    def work(number: int) -> bool:
        runs = [captured(torch.full((3,), float(number)), torch.tensor(0.0)) for _ in range(100)]
        return all((y == 2 * number).all() and total == 3 * number for y, total in runs)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_a_run_that_fails_lets_the_next_one_go_on(captured):
    with pytest.raises(RuntimeError):
        captured(torch.zeros(7), torch.zeros(()))
    y, _ = captured(torch.ones(3), torch.tensor(0.0))
    assert y.tolist() == [2, 2, 2]
