"""PostgreSQL without an installation: the binaries of a wheel, driven by us.

A folder holds one cluster: `pg/` (the data), `socket/`, `postgres.log`, `lock` and, while the server is to outlive the
process that serves, `keep`. The server listens on a Unix socket only. See docs/adr/0004-embedded-database.md.
"""

import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec
import psutil
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from infra.postgres.account import Account, EmbeddedError, account_for, environment, user_name, wheel_bin_dir

OWNER = "igob_owner"
APPLICATION = "igob_app"
DATABASE = "igob"
PORT = 5432  # names the socket file; nothing listens on TCP

POLL_S = 0.02
SAY_EVERY_S = 3.0
PING_TIMEOUT_S = 5
HOLDER_NAME_WAIT_S = 2.0  # a holder writes its name right after it has the lock
REMAINS_WAIT_S = 60.0  # backends of a killed postmaster need a moment to notice
REMAINS_POLL_S = 0.5
FAST_STOP_S = 60.0
IMMEDIATE_STOP_S = 30.0
TOOL_TIMEOUT_S = 300.0
SOCKET_PATH_MAX_BYTES = 100  # sun_path has 108 bytes on Linux, 104 elsewhere
# All that ever lies in a folder of ours, and what a new file system puts into its top folder.
OUR_FILES = re.compile(r"pg|pg\.new\..*|socket|postgres\.log(\.1)?|lock|users|keep|secret(\..*)?|lost\+found")
# Folders that others count on, also while they are empty: they are not ours to close.
TOP_FOLDERS = ("home", "media", "mnt", "opt", "root", "run", "srv", "tmp", "usr", "usr/local", "var", "var/lib")
SYSTEM_FOLDERS = {Path("/"), *(Path("/", name) for name in TOP_FOLDERS)}
LOG_MAX_BYTES = 32 * 1024 * 1024
LOG_TAIL_LINES = 12

# The indexes of some millions of events fit in. Pages that nobody needs take no memory.
SHARED_BUFFERS_MIB_MAX = 1024
SHARED_BUFFERS_SHARE = 4  # of this machine's memory, that part at most

SETTINGS = {
    "max_connections": "100",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # Right after a checkpoint every page that is touched is logged whole. Squeezing them, with the only method that the
    # wheel's PostgreSQL has, takes longer than all else that a booking needs (docs/adr/0007).
    "wal_compression": "off",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "jit": "off",  # compiling costs more than our short queries do
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}

SHARED_MEMORY_IN_USE = "pre-existing shared memory block"
PID_FILE_EXISTS = 'lock file "postmaster.pid" already exists'

# Children stay known to the process, so that whoever asks next can reap them.
_launched: dict[int, "subprocess.Popen[bytes]"] = {}
# Folder descriptors behind long socket paths: a conninfo that names one must stay good as long as the process lives.
_folder_fds: dict[Path, int] = {}


class Holder(msgspec.Struct, frozen=True):
    """Who holds a folder; `since` is an ISO 8601 instant in UTC. Process 0 has not said its name."""

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


def shared_buffers() -> dict[str, str]:
    """How much of the database is kept at hand: a quarter of this machine's memory, within a limit."""
    share_mib = psutil.virtual_memory().total // 2**20 // SHARED_BUFFERS_SHARE
    return {"shared_buffers": f"{min(share_mib, SHARED_BUFFERS_MIB_MAX)}MB"}


class Status(msgspec.Struct, frozen=True):
    """What is there: `pid` is the postmaster's, `version` the data's major one, `kept` as in `start(keep=True)`."""

    state: Literal["absent", "stopped", "starting", "running"]
    folder: str
    pid: int | None
    version: str | None
    holder: Holder | None
    kept: bool


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _alive(process: psutil.Process) -> bool:
    """Whether it still runs. A zombie does not: without an init that reaps, it would stay for ever."""
    child = _launched.get(process.pid)
    if child is not None and child.poll() is not None:
        del _launched[process.pid]
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _gone_within(process: psutil.Process, limit_s: float) -> bool:
    deadline_s = time.monotonic() + limit_s
    while _alive(process):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True


def _read_pid(path: Path) -> int | None:
    """The first line of a lock file of PostgreSQL's; negative for a single-user server."""
    try:
        return int(path.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _same_folder(left: str, right: Path) -> bool:
    with suppress(OSError):
        return right.samefile(left)
    return False


class EmbeddedPostgres:
    """A PostgreSQL server of our own in `folder`.

    `bin_dir` holds `postgres`, `initdb` and `pg_controldata` (default: the wheel's). `say` is given one line at a time:
    what takes long, and what was found. All methods raise EmbeddedError; what changes anything also FolderHeld.
    """

    def __init__(self, folder: Path, *, bin_dir: Path | None = None, say: Callable[[str], None] = _to_stderr) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "pg"
        self.socket = self.folder / "socket"
        self.log = self.folder / "postgres.log"
        self._lock = self.folder / "lock"
        self._keep = self.folder / "keep"
        self._bin_dir = bin_dir
        self._say = say
        self._held_as: Holder | None = None
        self._child: psutil.Process | None = None

    @contextmanager
    def hold(self, what: str) -> Iterator[None]:
        """Hold the folder exclusively and say as what (`igob serve`). Raises FolderHeld, naming the holder."""
        with self._explained():
            self._claim_folder()
            holder = Holder(os.getpid(), what, datetime.now(UTC).isoformat(timespec="seconds"))
            lock_fd = self._take_lock()
            os.ftruncate(lock_fd, 0)
            os.pwrite(lock_fd, msgspec.json.encode(holder), 0)
        self._held_as = holder
        try:
            yield
        finally:
            self._held_as = None
            os.ftruncate(lock_fd, 0)
            os.close(lock_fd)

    def start(self, *, keep: bool = False) -> None:
        """Return when the server answers queries: a new one, one that recovered, or one found running.

        `keep` leaves it running when `release` is called, until `stop`. Recovery has no time limit.
        """
        with self._holding(), self._explained():
            self._claim_folder()
            account = account_for(self._bin)
            self._initialise(account)
            try:
                self._bring_up(account)
                self._provide_database()
            except BaseException:
                if not self._keep.exists():
                    self.stop()
                raise
            if keep:
                self._keep.touch(mode=0o600)

    def stop(self) -> None:
        """End our own server, if it runs, and wait for it; without a checkpoint if a fast stop takes too long."""
        with self._holding(), self._explained():
            self._keep.unlink(missing_ok=True)
            process = self._postmaster()
            if process is None:
                return
            self._signal(process, signal.SIGINT)
            if _gone_within(process, FAST_STOP_S):
                return
            self._say(f"process {process.pid} has not stopped in {FAST_STOP_S:.0f} s: ending it without a checkpoint")
            self._signal(process, signal.SIGQUIT)
            if not _gone_within(process, IMMEDIATE_STOP_S):
                raise self._failure(f"PostgreSQL (process {process.pid}) does not stop.", 0)

    def release(self) -> None:
        """Stop the server, unless somebody wanted it kept."""
        if self._keep.exists():
            self._say(f"PostgreSQL goes on in {self.folder}, as was asked for when it was started")
        else:
            self.stop()

    def conninfo(self, user: str, dbname: str = DATABASE) -> str:
        """A libpq connection string, good in this process as long as it lives; each process asks for its own."""
        host = str(self.socket)
        # libpq reads a comma as the start of another host.
        plain = "," not in host and host.isprintable()
        if not plain or len(os.fsencode(self.socket / f".s.PGSQL.{PORT}")) > SOCKET_PATH_MAX_BYTES:
            with self._explained():
                host = f"/proc/self/fd/{self._socket_fd()}"
        # An empty hostaddr overrules a PGHOSTADDR in the environment.
        return make_conninfo("", host=host, hostaddr="", port=PORT, user=user, dbname=dbname)

    def status(self) -> Status:
        """What is there, without changing it; the holder may be ourselves."""
        with self._explained():
            self._check_folder()
            version = self._data_version()
            process = self._postmaster() if version else None
            state: Literal["absent", "stopped", "starting", "running"] = "stopped" if version else "absent"
            if process:
                state = "running" if self._answers() else "starting"
            return Status(
                state=state,
                folder=str(self.folder),
                pid=process.pid if process else None,
                version=version,
                holder=self._held_as or self._other_holder(),
                kept=self._keep.exists(),
            )

    @cached_property
    def _bin(self) -> Path:
        place = self._bin_dir or wheel_bin_dir()
        if not (place / "postgres").exists():
            raise EmbeddedError(f"There is no program postgres in {place}.")
        return place

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the system refuses into an EmbeddedError that names the folder."""
        try:
            yield
        except (OSError, psutil.Error, subprocess.SubprocessError, psycopg.Error) as error:
            raise EmbeddedError(f"The database folder {self.folder} can't be used: {error}") from error

    def _check_folder(self) -> None:
        """Raise EmbeddedError if the folder is somebody else's, or has something else in it than our database."""
        with suppress(FileNotFoundError):
            about = self.folder.stat()
            if about.st_uid != os.geteuid():
                raise EmbeddedError(
                    f"{self.folder} belongs to {user_name(about.st_uid)}, and we run as {user_name(os.geteuid())}. "
                    "Start it as the owner, or choose another folder with --data-dir."
                )
            if (self.data / "PG_VERSION").exists() and self._lock.is_file():
                return
            if self.folder in SYSTEM_FOLDERS or about.st_mode & stat.S_ISVTX:
                raise self._not_ours("is a folder of the system's, which others use too")
            strangers = (path.name for path in self.folder.iterdir() if not OUR_FILES.fullmatch(path.name))
            if stranger := min(strangers, default=""):
                raise self._not_ours(f"has other files in it than a database of ours, such as {stranger!r}")

    def _not_ours(self, why: str) -> EmbeddedError:
        return EmbeddedError(
            f"{self.folder} {why}, and the folder of the database is closed to everybody else. Choose one that is new "
            f"or empty with --data-dir, such as {self.folder / 'igob'}."
        )

    def _claim_folder(self) -> None:
        self._check_folder()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(self.folder.stat().st_mode) & 0o077:
            self._say(f"closing {self.folder} to other users (mode 0700): it holds the database")
            self.folder.chmod(0o700)

    def _holding(self) -> AbstractContextManager[None]:
        return nullcontext() if self._held_as else self.hold(Path(sys.argv[0]).name or "python")

    def _take_lock(self) -> int:
        """The descriptor of the locked file. Raises FolderHeld."""
        lock_fd = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        deadline_s = time.monotonic() + HOLDER_NAME_WAIT_S
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock_fd
            # Empty or dead: the holder is about to write its name, or somebody just looks at the lock.
            holder = self._read_holder()
            if (holder.pid and psutil.pid_exists(holder.pid)) or time.monotonic() > deadline_s:
                os.close(lock_fd)
                raise FolderHeld(self.folder, holder)
            time.sleep(POLL_S)

    def _read_holder(self) -> Holder:
        try:
            return msgspec.json.decode(self._lock.read_bytes(), type=Holder)
        except (OSError, msgspec.DecodeError):
            return Holder(0, "no name yet", "just now")

    def _other_holder(self) -> Holder | None:
        try:
            lock_fd = os.open(self._lock, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._read_holder()
        finally:
            os.close(lock_fd)
        return None

    def _socket_fd(self) -> int:
        """A descriptor of `socket/`, for the paths that a socket address has no room for. Raises EmbeddedError."""
        if not Path("/proc/self/fd").is_dir():
            raise EmbeddedError(
                f"The path of {self.folder} is too long for a socket, or has characters that a connection string can't "
                "carry, and there is no /proc to go around it. Choose a shorter one with --data-dir."
            )
        there = self.socket.stat()
        known = _folder_fds.get(self.socket)
        if known is None or not os.path.samestat(os.fstat(known), there):
            known = _folder_fds[self.socket] = os.open(self.socket, os.O_RDONLY | os.O_DIRECTORY)
        return known

    def _run(self, account: Account, program: str, *arguments: str) -> str:
        """Run a tool of PostgreSQL's to its end; its output. Raises EmbeddedError with what it said."""
        done = subprocess.run(
            [*account.prefix, str(self._bin / program), *arguments],
            cwd="/",
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TOOL_TIMEOUT_S,
            check=False,
        )
        text = done.stdout.decode(errors="replace").strip()
        if done.returncode != 0:
            tail = "\n".join(text.splitlines()[-LOG_TAIL_LINES:])
            raise EmbeddedError(f"{program} failed in {self.folder} (exit code {done.returncode}):\n{tail}")
        return text

    def _data_version(self) -> str | None:
        """The major version of the cluster; None if there is none."""
        try:
            return (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None

    def _initialise(self, account: Account) -> None:
        """See to a cluster of the right version that the server may use; a kill leaves no half of one."""
        for leftover in self.folder.glob("pg.new.*"):
            # An orphaned initdb may still write there; it fails when its folder goes.
            shutil.rmtree(leftover, ignore_errors=True)
        version = self._data_version()
        if version is None:
            self._create_cluster(account)
        else:
            self._check_version(account, version)
        owner = self.data.stat().st_uid
        if owner != account.uid:
            raise EmbeddedError(
                f"{self.data} belongs to {user_name(owner)}, and PostgreSQL would run as {user_name(account.uid)}."
            )
        self.socket.mkdir(mode=0o700, exist_ok=True)
        self.socket.chmod(0o700)
        os.chown(self.socket, account.uid, account.gid)

    def _check_version(self, account: Account, version: str) -> None:
        ours = self._run(account, "postgres", "--version").split()[2].split(".")[0]
        if ours != version:
            raise EmbeddedError(
                f"{self.data} was made by PostgreSQL {version}, and {self._bin} holds PostgreSQL {ours}. "
                "Take a dump with the old version and load it into a new folder, or choose another with --data-dir."
            )

    def _create_cluster(self, account: Account) -> None:
        self._say(f"creating a database in {self.folder}")
        fresh = Path(tempfile.mkdtemp(prefix="pg.new.", dir=self.folder))
        try:
            os.chown(fresh, account.uid, account.gid)
            options = ("-E", "UTF8", "--no-locale", "--data-checksums", "--auth=trust", "-U", OWNER)
            self._run(account, "initdb", *options, "-D", str(fresh))
            fresh.rename(self.data)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        folder_fd = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder_fd)
        os.close(folder_fd)

    def _is_ours(self, process: psutil.Process) -> bool:
        """Whether it is a living server of our data folder. Raises psutil.AccessDenied if that can't be told."""
        with suppress(psutil.NoSuchProcess):
            if not _alive(process) or process.name() != "postgres":
                return False
            words = process.cmdline()
            if any(_same_folder(path, self.data) for word, path in pairwise(words) if word == "-D"):
                return True
            # The folder was moved under a running server, which works where its data are; not all may look there.
            with suppress(psutil.AccessDenied):
                return _same_folder(process.cwd(), self.data)
        return False

    def _postmaster(self) -> psutil.Process | None:
        """Our living server, whoever started it."""
        if self._child and _alive(self._child):
            return self._child
        pid = _read_pid(self.data / "postmaster.pid")
        if pid is None or pid <= 0:
            return None
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            return process if self._is_ours(process) else None
        return None

    def _clear_stale(self) -> None:
        """Remove lock files whose process id is a stranger's by now: PostgreSQL would take it for its own kind."""
        lock = self.socket / f".s.PGSQL.{PORT}.lock"
        for path in (self.data / "postmaster.pid", lock):
            pid = _read_pid(path)
            if pid is None:
                continue
            with suppress(psutil.NoSuchProcess):
                if self._is_ours(psutil.Process(abs(pid))):
                    continue
                # A dead process' file stays: PostgreSQL looks up its shared memory there.
                path.unlink(missing_ok=True)

    def _signal(self, process: psutil.Process, number: signal.Signals) -> None:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return
        except psutil.AccessDenied:
            # Root without the capability kill: the server's own account may.
            self._run(account_for(self._bin), "pg_ctl", "kill", number.name.removeprefix("SIG"), str(process.pid))

    def _unclean(self, account: Account) -> bool:
        """Whether the server ended without a shutdown checkpoint, so that it has to recover."""
        report = self._run(account, "pg_controldata", "-D", str(self.data))
        fields = dict(line.split(":", 1) for line in report.splitlines() if ":" in line)
        return fields["Database cluster state"].strip() not in {"shut down", "shut down in recovery"}

    def _launch(self, account: Account) -> psutil.Process:
        if self.log.exists() and self.log.stat().st_size > LOG_MAX_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        settings = [word for name, value in (SETTINGS | shared_buffers()).items() for word in ("-c", f"{name}={value}")]
        # The server works in its data folder: a relative socket folder is never too long for an address.
        place = ["-D", str(self.data), "-k", "../socket", "-h", "", "-p", str(PORT)]
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                [*account.prefix, str(self._bin / "postgres"), *place, *settings],
                cwd="/",
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we order the shutdown
            )
        _launched[child.pid] = child
        self._child = psutil.Process(child.pid)
        return self._child

    def _bring_up(self, account: Account) -> None:
        """Take over the server that runs, or launch one, until one answers. Raises EmbeddedError when it won't."""
        began_s = time.monotonic()
        while True:
            if process := self._postmaster():
                self._say(f"taking over PostgreSQL (process {process.pid}), which runs in {self.folder} already")
                if self._wait(process, "waiting for it"):
                    return
                continue
            self._clear_stale()
            unclean = self._unclean(account)
            doing = "recovering after an unclean stop" if unclean else "starting PostgreSQL"
            if unclean:
                self._say(doing)
            log_start = self.log.stat().st_size if self.log.exists() else 0
            if self._wait(self._launch(account), doing):
                if unclean:
                    self._say(f"recovered in {time.monotonic() - began_s:.1f} s")
                return
            self._await_remains(log_start, began_s + REMAINS_WAIT_S)

    def _await_remains(self, log_start: int, deadline_s: float) -> None:
        """Wait while a killed server's processes end. Raises EmbeddedError if a launch failed for another reason."""
        reason = self._log_since(log_start)
        if SHARED_MEMORY_IN_USE not in reason and PID_FILE_EXISTS not in reason:
            raise self._failure("PostgreSQL ended while it started.", log_start)
        if time.monotonic() > deadline_s:
            raise self._failure(f"Processes of a killed server have not ended in {REMAINS_WAIT_S:.0f} s.", log_start)
        self._say("processes of the server that was killed are still ending: waiting for them")
        time.sleep(REMAINS_POLL_S)

    def _wait(self, process: psutil.Process, doing: str) -> bool:
        """Wait until the server answers; False if it ends first. Has no limit: recovery takes what it takes."""
        began_s = time.monotonic()
        say_at_s = began_s + SAY_EVERY_S
        while _alive(process):
            if self._answers():
                return True
            if time.monotonic() > say_at_s:
                self._say(f"{doing} … {time.monotonic() - began_s:.0f} s")
                say_at_s += SAY_EVERY_S
            time.sleep(POLL_S)
        return False

    def _answers(self) -> bool:
        """Whether the server accepts connections now."""
        target = make_conninfo(self.conninfo(OWNER, "postgres"), connect_timeout=PING_TIMEOUT_S)
        return psycopg.pq.PGconn.ping(target.encode()) == psycopg.pq.Ping.OK

    def _provide_database(self) -> None:
        """Create role and database where missing: a kill may have come between initdb and this."""
        with psycopg.connect(self.conninfo(OWNER, "postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APPLICATION]).fetchone():
                connection.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(APPLICATION)))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(Identifier(DATABASE), Identifier(OWNER)))

    def _log_since(self, start: int) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(start, log.seek(0, os.SEEK_END) - 64 * 1024))
            return log.read().decode(errors="replace")

    def _failure(self, text: str, log_start: int) -> EmbeddedError:
        tail = "\n".join(self._log_since(log_start).splitlines()[-LOG_TAIL_LINES:])
        return EmbeddedError(f"{text} The end of {self.log}:\n{tail}")
