"""Processes of PostgreSQL: whether they live, and what their lock files say."""

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

POLL_S = 0.02

# Children stay known to the process, so that whoever asks next can reap them.
launched: dict[int, "subprocess.Popen[bytes]"] = {}


def alive(process: psutil.Process) -> bool:
    """Whether it still runs. A zombie does not: without an init that reaps, it would stay for ever."""
    child = launched.get(process.pid)
    if child is not None and child.poll() is not None:
        del launched[process.pid]
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def gone_within(process: psutil.Process, limit_s: float) -> bool:
    """Wait until it has ended; False if it has not after that time."""
    deadline_s = time.monotonic() + limit_s
    while alive(process):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True


def read_pid(path: Path) -> int | None:
    """The first line of a lock file of PostgreSQL's; negative for a single-user server."""
    try:
        return int(path.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def same_folder(left: str, right: Path) -> bool:
    with suppress(OSError):
        return right.samefile(left)
    return False
