"""The folder of the embedded database: its owner and its holder."""

import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil

from infra.postgres.account import EmbeddedError, user_name

POLL_S = 0.02
HOLDER_NAME_WAIT_S = 2.0  # a holder writes its name right after it has the lock
# Everything that is ever in such a folder, and what a new file system has in its top folder.
OUR_FILES = re.compile(r"pg|pg\.new\..*|socket|postgres\.log(\.1)?|lock|address|users|keep|secret(\..*)?|lost\+found")
# Folders that other programs rely on, even while empty: they must not be closed.
TOP_FOLDERS = ("home", "media", "mnt", "opt", "root", "run", "srv", "tmp", "usr", "usr/local", "var", "var/lib")
SYSTEM_FOLDERS = {Path("/"), *(Path("/", name) for name in TOP_FOLDERS)}


class Holder(msgspec.Struct, frozen=True):
    """The holder of a folder. `since` is an ISO 8601 instant in UTC. Process 0: not yet named."""

    pid: int
    what: str
    since: str


class FolderHeld(Exception):
    """Another process holds the folder: `pid`, `what` it is, `since` when (ISO 8601)."""

    def __init__(self, folder: Path, holder: Holder) -> None:
        self.pid, self.what, self.since = holder.pid, holder.what, holder.since
        text = f"{folder} is held by process {self.pid} ({self.what}) since {self.since}"
        if not psutil.pid_exists(self.pid):
            text += (
                "; that process is gone or not visible from here, but something that it started still holds the folder"
            )
        super().__init__(text)


class DataFolder:
    """A folder for one database, closed to other users. `held` while this process holds it."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path = path
        self.held: Holder | None = None
        self._lock_file = path / "lock"
        self._say = say

    @contextmanager
    def hold(self, what: str) -> Iterator[None]:
        """Hold the folder exclusively while the block runs. Raises FolderHeld, EmbeddedError, OSError."""
        self.claim()
        holder = Holder(os.getpid(), what, datetime.now(UTC).isoformat(timespec="seconds"))
        lock_fd = self._take_lock()
        os.ftruncate(lock_fd, 0)
        os.pwrite(lock_fd, msgspec.json.encode(holder), 0)
        self.held = holder
        try:
            yield
        finally:
            self.held = None
            os.ftruncate(lock_fd, 0)
            os.close(lock_fd)

    def check(self) -> None:
        """Raise EmbeddedError if the folder belongs to another user, or has other files in it than our database."""
        with suppress(FileNotFoundError):
            about = self.path.stat()
            if about.st_uid != os.geteuid():
                raise EmbeddedError(
                    f"{self.path} belongs to {user_name(about.st_uid)}, and we run as {user_name(os.geteuid())}. "
                    "Start it as the owner, or choose another folder with --data-dir."
                )
            if (self.path / "pg" / "PG_VERSION").exists() and self._lock_file.is_file():
                return
            if self.path in SYSTEM_FOLDERS or about.st_mode & stat.S_ISVTX:
                raise self._not_ours("is a folder of the system's, which others use too")
            strangers = (path.name for path in self.path.iterdir() if not OUR_FILES.fullmatch(path.name))
            if stranger := min(strangers, default=""):
                raise self._not_ours(f"has other files in it than a database of ours, such as {stranger!r}")

    def _not_ours(self, why: str) -> EmbeddedError:
        return EmbeddedError(
            f"{self.path} {why}, and the folder of the database is closed to everybody else. Choose one that is new "
            f"or empty with --data-dir, such as {self.path / 'igob'}."
        )

    def claim(self) -> None:
        self.check()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(self.path.stat().st_mode) & 0o077:
            self._say(f"closing {self.path} to other users (mode 0700): it holds the database")
            self.path.chmod(0o700)

    def _take_lock(self) -> int:
        """The descriptor of the locked file. Raises FolderHeld."""
        lock_fd = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        deadline_s = time.monotonic() + HOLDER_NAME_WAIT_S
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock_fd
            # Empty or of a dead process: the holder is about to write its name, or another process is testing the lock.
            holder = self._read_holder()
            if (holder.pid and psutil.pid_exists(holder.pid)) or time.monotonic() > deadline_s:
                os.close(lock_fd)
                raise FolderHeld(self.path, holder)
            time.sleep(POLL_S)

    def _read_holder(self) -> Holder:
        try:
            return msgspec.json.decode(self._lock_file.read_bytes(), type=Holder)
        except (OSError, msgspec.DecodeError):
            return Holder(0, "no name yet", "just now")

    def other_holder(self) -> Holder | None:
        try:
            lock_fd = os.open(self._lock_file, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._read_holder()
        finally:
            os.close(lock_fd)
        return None
