"""Say whose turn it is in a lane: which of the runs that wait gets free units, and which are run with it."""

from voxstack.engine.runs import Run

__all__ = ["Turns"]


class Turns:
    """The runs of a lane that wait and that are at work, and the units that are free for more.

    Urgent runs are granted units, and run in threads of their own. As many units again are for patient runs,
    which others run in threads that stand back. It starts no thread and waits for nobody; not safe from
    several threads. All times are those of `time.monotonic`.

    waiting           runs that wait, in no order
    running           runs at work; those that are run with one are its fellows
    free              units for what is urgent
    free_for_patient  units for what is patient
    """

    def __init__(self, units: int) -> None:
        self._units = units
        self.waiting: list[Run] = []
        self.running: set[Run] = set()
        self.free = units
        self.free_for_patient = units

    def come(self, run: Run, now: float) -> None:
        """Let a run wait; where nobody else is, it is granted its turn at once, patient or not."""
        is_alone = self._units > 1 and not self.running and not self.waiting
        self.waiting.append(run)
        if is_alone and run.is_patient(now):
            # It spares itself the way to another thread; whoever comes meanwhile finds all units free.
            run.threads = 0
            self._grant(run, now)

    def grant_urgent(self, now: float) -> None:
        """Grant free units to those that wait and are urgent, the most urgent first, as far as they go."""
        while first := self._first(self.ready(now), now):
            if first.is_patient(now) or first.threads > self.free:
                return
            self._grant(first, now)

    def grant_first(self, now: float) -> None:
        """Grant free units to the first of those that wait, even if it is patient."""
        first = self._first(self.ready(now), now)
        if first is not None and first.threads <= self.free:
            self._grant(first, now)

    def take_patient(self, now: float) -> Run | None:
        """Return the first of the patient, which is at work now; None if there is none or no unit is free."""
        first = self._first([run for run in self.ready(now) if run.is_patient(now)], now)
        if first is None or first.threads > self.free_for_patient:
            return None
        self.free_for_patient -= first.threads
        self._start(first, now)
        return first

    def ready(self, now: float) -> list[Run]:
        """Return those that wait, but for what could have been run as one with a run at work.

        Running such things together is quicker than running them on two cores, where their net reads all
        its weights twice: they gather until that run is over. What is urgent does not wait for a thread
        that stands back.
        """
        if not self.waiting:  # after most runs
            return []
        urgent = {run.key for run in self.running if run.is_granted} - {None}
        others = {run.key for run in self.running} - {None}
        return [run for run in self.waiting if run.key not in (others if run.is_patient(now) else urgent)]

    def end(self, run: Run) -> None:
        """Take back what a run at work was given."""
        self.running.discard(run)
        if run.is_granted:
            self.free += run.threads
        else:
            self.free_for_patient += run.threads

    def turn_down(self, run: Run) -> None:
        """Take back a turn that nobody takes; those who would have been run with it wait again."""
        self.waiting.extend(run.fellows)
        self.end(run)

    def part(self, run: Run) -> None:
        """Let the fellows of a run wait again, each to be run alone, but for those who have gone."""
        fellows, run.fellows = run.fellows, []
        for fellow in fellows:
            fellow.goes_alone = True
        self.waiting.extend(fellow for fellow in fellows if not fellow.is_over)

    def begun_before(self, moment: float) -> list[Run]:
        """Return the runs at work that began before a moment."""
        return [run for run in self.running if run.began < moment]

    def _first(self, runs: list[Run], now: float) -> Run | None:
        return min(runs, key=lambda run: run.rank(now), default=None)

    def _grant(self, run: Run, now: float) -> None:
        """Give a run its units, and wake its own thread, which runs it."""
        run.is_granted = True
        self.free -= run.threads
        self._start(run, now)
        run.woken.set()

    def _start(self, run: Run, now: float) -> None:
        self._choose(run, now)
        run.began = now
        self.running.add(run)

    def _choose(self, run: Run, now: float) -> None:
        """Take a run out of those that wait, and its fellows, which are run with it as one batch."""
        self.waiting.remove(run)
        key = run.key
        if key is None:
            return
        alike = [other for other in self.waiting if other.key == key]
        alike.sort(key=lambda other: other.rank(now))
        run.fellows = alike[: run.work.most - 1]
        for fellow in run.fellows:
            self.waiting.remove(fellow)
