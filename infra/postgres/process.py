"""Processes of PostgreSQL: whether they run, and their lock files."""

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

POLL_S = 0.02

# Children are remembered, so that a later call can reap them.
launched: dict[int, "subprocess.Popen[bytes]"] = {}


def alive(process: psutil.Process) -> bool:
    """Whether the process still runs. A zombie does not: without an init that reaps it, it would stay for ever."""
    child = launched.get(process.pid)
    if child is not None and child.poll() is not None:
        del launched[process.pid]
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def gone_within(process: psutil.Process, limit_s: float) -> bool:
    """Wait until the process has ended; False if it has not after that time."""
    deadline_s = time.monotonic() + limit_s
    while alive(process):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True


def read_pid(path: Path) -> int | None:
    """The process id in a lock file of PostgreSQL; negative for a single-user server, None if there is none."""
    try:
        return int(path.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def same_folder(left: str, right: Path) -> bool:
    with suppress(OSError):
        return right.samefile(left)
    return False
