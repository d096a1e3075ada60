"""The folder in which the workers of one `igob serve` keep their counts, and which places in it are taken.

It is apart from infra/running/metrics.py because `igob serve` itself needs no prometheus_client.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from infra.running.logging import log_failure

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the library reads it as well
PREFIX = "igob-metrics-"
NEW = "igob-new-"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (only folders of our own are made and removed there)


@contextmanager
def shared_folder() -> Iterator[None]:
    """A new shared folder for workers that start during the block, named in the environment.

    In memory if possible: a process that writes to a mapped file waits whenever the disk is busy with that file.
    """
    parent = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    with ExitStack() as held:
        try:
            _remove_abandoned(parent)
            os.environ[FOLDER] = str(_new_folder(parent, held))
        except OSError as error:
            log_failure("workers count each for itself", error)
        yield


def _new_folder(parent: Path, held: ExitStack) -> Path:
    """A new folder, which is removed when `held` is closed. Raises OSError."""
    folder = Path(tempfile.mkdtemp(prefix=NEW, dir=parent))
    server_fd = os.open(folder / "server", os.O_RDWR | os.O_CREAT, 0o600)
    held.callback(os.close, server_fd)
    fcntl.flock(server_fd, fcntl.LOCK_EX)
    folder = folder.rename(parent / folder.name.replace(NEW, PREFIX))  # not before it is locked: see below
    held.callback(shutil.rmtree, folder, ignore_errors=True)
    held.callback(os.environ.pop, FOLDER, None)
    return folder


def _remove_abandoned(parent: Path) -> None:
    """Remove our folders whose servers were killed."""
    for server in parent.glob(f"{PREFIX}*/server"):
        with suppress(OSError):  # somebody else's
            server_fd = locked(server)
            if server_fd is not None:
                shutil.rmtree(server.parent, ignore_errors=True)
                os.close(server_fd)


def dead(folder: Path) -> Iterator[int]:
    """The places whose workers are gone. Each is locked while the caller handles it."""
    for path in folder.glob("*.lock"):
        lock_fd = locked(path)
        if lock_fd is not None:
            yield int(path.stem)
            os.close(lock_fd)


def locked(path: Path) -> int | None:
    """The file, open and locked; None if another process has it. The kernel unlocks it when the process ends."""
    lock_fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock_fd)
        return None
    return lock_fd
