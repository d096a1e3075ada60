"""Child processes that run a function of this program: forked, so that what is imported and compiled is there already.

Only a process with a single thread may fork. A lock that another thread holds at that moment would be locked for ever
in the child.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM)
STDERR_FD = 2
NAME = Path("/proc/self/comm")  # only Linux has it


class Forked:
    """A child process until its end has been seen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def status(self) -> int | None:
        """The exit status, or the negative number of the signal that ended it; None while it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended: its id may be another one's by then."""
        if self.status() is None:
            os.kill(self.pid, number)


def fork(name: str, run: Callable[[], object], *, keep_fds: Collection[int] = ()) -> Forked:
    """Run a function in a child process of that name, which ends with it.

    The child is a session of its own, so Ctrl-C in a terminal does not reach it. SIGINT and SIGTERM have their usual
    effects there until the function changes that. All descriptors are closed except the standard ones and `keep_fds`:
    a child must not hold the locks of its parent. Raises OSError; RuntimeError if this process has other threads.
    """
    if threading.active_count() > 1:
        raise RuntimeError(f"a process with threads can't fork: {threading.enumerate()}")
    with suppress(OSError, ValueError):
        sys.stdout.flush()  # or the child would write it, too
    # Until the child has its own handlers, a signal to it would run those of its parent, and be lost.
    former = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        pid = os.fork()
        if not pid:
            _be(name, run, keep_fds)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
    return Forked(pid)


def _be(name: str, run: Callable[[], object], keep_fds: Collection[int]) -> NoReturn:
    """Run the function as a program would, and end. Frames of the parent are never returned to."""
    status = 1
    try:
        os.setsid()
        _close_except(keep_fds)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        with suppress(OSError):
            NAME.write_text(name)
        run()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        with suppress(OSError, ValueError):  # nobody may be left to read it
            traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _close_except(keep_fds: Collection[int]) -> None:
    first = STDERR_FD + 1
    for kept in sorted(keep_fds):
        os.closerange(first, kept)
        first = kept + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
