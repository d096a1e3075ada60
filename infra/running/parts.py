"""The parts of `igob serve`: child processes that are started again when they die.

One thread looks after all of them, because a process with threads can't fork.
"""

import signal
import time
from collections.abc import Callable, Collection, Iterable

from infra.running.forking import Forked, fork

RESTART_PAUSE_S = 5  # after a fork that failed
START_EVERY_S = 1  # a part that dies again and again is not started more often than that
STOP_TIMEOUT_S = 40  # longer than any request takes: open requests are answered first
STOP_POLL_S = 0.02
NAME_MAX = 15  # characters, of a process on Linux


def _nothing() -> None:
    pass


class Part:
    """A process to keep running; one with `once` is not started again after it ended by itself.

    `failed` is called when it has ended with an error. A part that is `patient` gets no signal when all are stopped,
    and is waited for without a limit.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[], object],
        *,
        keep_fds: Collection[int] = (),
        once: bool = False,
        patient: bool = False,
        failed: Callable[[], None] = _nothing,
    ) -> None:
        self.name = name
        self.once = once
        self.patient = patient
        self.failed = failed
        self.process: Forked | None = None
        self.start_at_s = 0.0
        self._run = run
        self._keep_fds = keep_fds

    def start(self, now_s: float) -> None:
        """Raises OSError."""
        self.start_at_s = now_s + START_EVERY_S  # at the earliest, if it dies
        self.process = fork(f"igob-{self.name}"[:NAME_MAX], self._run, keep_fds=self._keep_fds)

    def ended(self) -> int | None:
        """The status with which it ended since the last call; None if it runs, or does not run anyhow."""
        status = self.process.status() if self.process else None
        if status is not None:
            self.process = None
        return status


class Parts:
    """All of them, until `stop`. `tick` has to be called often."""

    def __init__(self, parts: Iterable[Part], say: Callable[[str], None]) -> None:
        self._parts = list(parts)
        self._say = say

    def add(self, part: Part) -> None:
        self._parts.append(part)

    def __contains__(self, part: object) -> bool:
        return part in self._parts

    def tick(self) -> None:
        """Start what does not run, and look who has ended. Raises what `failed` of a part does."""
        now_s = time.monotonic()
        for part in tuple(self._parts):
            status = part.ended()
            if status is not None:
                if part.once and status >= 0:
                    self._parts.remove(part)
                if status > 0:
                    part.failed()
                if part in self._parts:
                    self._say(f"the {part.name} died; starting it again")
            if part in self._parts and part.process is None and part.start_at_s <= now_s:
                self._start(part, now_s)

    def _start(self, part: Part, now_s: float) -> None:
        try:
            part.start(now_s)
        except OSError as error:
            self._say(f"the {part.name} does not start: {error}")
            part.start_at_s = now_s + RESTART_PAUSE_S

    def stop(self) -> None:
        """Tell all to stop, and return when they have; kill who does not within STOP_TIMEOUT_S."""
        for part in self._parts:
            if part.process and not part.patient:
                part.process.send(signal.SIGTERM)
        kill_at_s = time.monotonic() + STOP_TIMEOUT_S
        while running := [part for part in self._parts if part.process and part.ended() is None]:
            if time.monotonic() > kill_at_s:
                kill_at_s = float("inf")
                for part in running:
                    if part.process and not part.patient:
                        self._say(f"the {part.name} does not stop; killing it")
                        part.process.send(signal.SIGKILL)
            time.sleep(STOP_POLL_S)
