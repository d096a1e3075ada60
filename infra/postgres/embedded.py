"""PostgreSQL without an installation: the binaries of a wheel, driven by us.

A folder holds one cluster: `pg/` (the data), `socket/`, `postgres.log`, `lock` and, while the server is to outlive the
process that serves, `keep`. The server listens on a Unix socket only. See docs/adr/0004-embedded-database.md.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec
import psutil
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from infra.postgres.account import Account, EmbeddedError, account_for, environment
from infra.postgres.cluster import Cluster
from infra.postgres.folder import DataFolder, Holder
from infra.postgres.process import alive, gone_within, launched, read_pid, same_folder

OWNER = "igob_owner"
APPLICATION = "igob_app"
DATABASE = "igob"
PORT = 5432  # names the socket file; nothing listens on TCP

POLL_S = 0.02
SAY_EVERY_S = 3.0
PING_TIMEOUT_S = 5
REMAINS_WAIT_S = 60.0  # backends of a killed postmaster need a moment to notice
REMAINS_POLL_S = 0.5
FAST_STOP_S = 60.0
IMMEDIATE_STOP_S = 30.0
SOCKET_PATH_MAX_BYTES = 100  # sun_path has 108 bytes on Linux, 104 elsewhere
LOG_MAX_BYTES = 32 * 1024 * 1024
LOG_TAIL_LINES = 12

# Room for the indexes of some millions of events. Unused pages take no memory.
SHARED_BUFFERS_MIB_MAX = 1024
SHARED_BUFFERS_SHARE = 4  # at most this part of the machine's memory

SETTINGS = {
    "max_connections": "100",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # After a checkpoint, each page touched first is logged in full. Compressing it, with the only method in the wheel's
    # PostgreSQL, takes longer than everything else in a booking (docs/adr/0007).
    "wal_compression": "off",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "jit": "off",  # compiling costs more than our short queries
    "timezone": "UTC",
    "log_timezone": "UTC",
    # With the SQLSTATE (%e), which tells why a server did not start.
    "log_line_prefix": "%m [%p] %e %q%u@%d ",
}

# The text in the server's log if processes of a killed server still hold its memory or its lock file.
LOCK_FILE_EXISTS = f"] {psycopg.errors.LockFileExists.sqlstate} "

# Folder descriptors behind long socket paths: a conninfo that names one must stay good as long as the process lives.
_folder_fds: dict[Path, int] = {}
os.register_at_fork(after_in_child=_folder_fds.clear)  # the descriptors are closed there


def shared_buffers() -> dict[str, str]:
    """The setting shared_buffers: a quarter of this machine's memory, within a limit."""
    share_mib = psutil.virtual_memory().total // 2**20 // SHARED_BUFFERS_SHARE
    return {"shared_buffers": f"{min(share_mib, SHARED_BUFFERS_MIB_MAX)}MB"}


class Status(msgspec.Struct, frozen=True):
    """The state of the server. `pid` is the postmaster's, `version` the data's major version, `kept` as in `start`."""

    state: Literal["absent", "stopped", "starting", "running"]
    folder: str
    pid: int | None
    version: str | None
    holder: Holder | None
    kept: bool


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")


class EmbeddedPostgres:
    """A PostgreSQL server of our own in `folder`.

    `bin_dir` holds `postgres`, `initdb` and `pg_controldata` (default: the wheel's). `say` gets one line at a
    time about long work and findings. All methods raise EmbeddedError; those that change anything also FolderHeld.
    """

    def __init__(self, folder: Path, *, bin_dir: Path | None = None, say: Callable[[str], None] = _to_stderr) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "pg"
        self.socket = self.folder / "socket"
        self.log = self.folder / "postgres.log"
        self._keep = self.folder / "keep"
        self._say = say
        self._owned = DataFolder(self.folder, say)
        self._cluster = Cluster(self.data, bin_dir=bin_dir, owner=OWNER, say=say)
        self._child: psutil.Process | None = None

    @contextmanager
    def hold(self, what: str) -> Iterator[None]:
        """Hold the folder exclusively, as `what` (`igob serve`). Raises FolderHeld, which names the holder."""
        with ExitStack() as held:
            with self._explained():
                held.enter_context(self._owned.hold(what))
            yield

    def start(self, *, keep: bool = False) -> None:
        """Return once the server answers queries: a new one, a recovered one, or one that was already running.

        `keep` leaves it running when `release` is called, until `stop`. Recovery has no time limit.
        """
        with self._holding(), self._explained():
            self._owned.claim()
            account = account_for(self._cluster.bin_dir)
            self._cluster.initialise(account)
            self.socket.mkdir(mode=0o700, exist_ok=True)
            self.socket.chmod(0o700)
            os.chown(self.socket, account.uid, account.gid)
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
        """Stop the server if it runs, and wait for its end; without a checkpoint if a fast stop takes too long."""
        with self._holding(), self._explained():
            self._keep.unlink(missing_ok=True)
            process = self._postmaster()
            if process is None:
                return
            self._signal(process, signal.SIGINT)
            if gone_within(process, FAST_STOP_S):
                return
            self._say(f"process {process.pid} has not stopped in {FAST_STOP_S:.0f} s: ending it without a checkpoint")
            self._signal(process, signal.SIGQUIT)
            if not gone_within(process, IMMEDIATE_STOP_S):
                raise self._failure(f"PostgreSQL (process {process.pid}) does not stop.", 0)

    def release(self) -> None:
        """Stop the server, unless it was started with `keep`."""
        if self._keep.exists():
            self._say(f"PostgreSQL goes on in {self.folder}, as was asked for when it was started")
        else:
            self.stop()

    def conninfo(self, user: str, dbname: str = DATABASE) -> str:
        """A libpq connection string. It is valid in this process only, until the process ends."""
        host = str(self.socket)
        # libpq reads a comma as the start of another host.
        plain = "," not in host and host.isprintable()
        if not plain or len(os.fsencode(self.socket / f".s.PGSQL.{PORT}")) > SOCKET_PATH_MAX_BYTES:
            with self._explained():
                host = f"/proc/self/fd/{self._socket_fd()}"
        # An empty hostaddr overrules a PGHOSTADDR in the environment.
        return make_conninfo("", host=host, hostaddr="", port=PORT, user=user, dbname=dbname)

    def status(self) -> Status:
        """The state of the server, without changing it. The holder may be this process."""
        with self._explained():
            self._owned.check()
            version = self._cluster.version()
            process = self._postmaster() if version else None
            state: Literal["absent", "stopped", "starting", "running"] = "stopped" if version else "absent"
            if process:
                state = "running" if self._answers() else "starting"
            return Status(
                state=state,
                folder=str(self.folder),
                pid=process.pid if process else None,
                version=version,
                holder=self._owned.held or self._owned.other_holder(),
                kept=self._keep.exists(),
            )

    def has_stopped(self) -> bool:
        """Whether the folder holds data and no server of it runs. Nothing is asked of the server."""
        with self._explained():
            return self._cluster.version() is not None and self._postmaster() is None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn an OSError into an EmbeddedError that names the folder."""
        try:
            yield
        except (OSError, psutil.Error, subprocess.SubprocessError, psycopg.Error) as error:
            raise EmbeddedError(f"The database folder {self.folder} can't be used: {error}") from error

    def _holding(self) -> AbstractContextManager[None]:
        return nullcontext() if self._owned.held else self.hold(Path(sys.argv[0]).name or "python")

    def _socket_fd(self) -> int:
        """A descriptor of `socket/`, for paths too long for a socket address. Raises EmbeddedError."""
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

    def _is_ours(self, process: psutil.Process) -> bool:
        """Whether this is a running server of our data folder. Raises psutil.AccessDenied if that is unknown."""
        with suppress(psutil.NoSuchProcess):
            if not alive(process) or process.name() != "postgres":
                return False
            words = process.cmdline()
            if any(same_folder(path, self.data) for word, path in pairwise(words) if word == "-D"):
                return True
            # The folder was moved under a running server, which works where its data are; not all may look there.
            with suppress(psutil.AccessDenied):
                return same_folder(process.cwd(), self.data)
        return False

    def _postmaster(self) -> psutil.Process | None:
        """The running server of this folder, whoever started it; None if there is none."""
        if self._child and alive(self._child):
            return self._child
        pid = read_pid(self.data / "postmaster.pid")
        if pid is None or pid <= 0:
            return None
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            return process if self._is_ours(process) else None
        return None

    def _clear_stale(self) -> None:
        """Remove lock files whose process id now belongs to another program: PostgreSQL would take it for a server."""
        lock = self.socket / f".s.PGSQL.{PORT}.lock"
        for path in (self.data / "postmaster.pid", lock):
            pid = read_pid(path)
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
            # Root lacks the capability kill; the server's own account may send signals.
            self._cluster.run(
                account_for(self._cluster.bin_dir), "pg_ctl", "kill", number.name.removeprefix("SIG"), str(process.pid)
            )

    def _launch(self, account: Account) -> psutil.Process:
        if self.log.exists() and self.log.stat().st_size > LOG_MAX_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        settings = [word for name, value in (SETTINGS | shared_buffers()).items() for word in ("-c", f"{name}={value}")]
        # The server works in its data folder: a relative socket folder is never too long for an address.
        place = ["-D", str(self.data), "-k", "../socket", "-h", "", "-p", str(PORT)]
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                [*account.prefix, str(self._cluster.bin_dir / "postgres"), *place, *settings],
                cwd="/",
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C goes to this process, which stops the server
            )
        launched[child.pid] = child
        self._child = psutil.Process(child.pid)
        return self._child

    def _bring_up(self, account: Account) -> None:
        """Take over the running server, or launch one, until one answers. Raises EmbeddedError if none does."""
        began_s = time.monotonic()
        while True:
            if process := self._postmaster():
                self._say(f"taking over PostgreSQL (process {process.pid}), which runs in {self.folder} already")
                if self._wait(process, "waiting for it"):
                    return
                continue
            self._clear_stale()
            unclean = self._cluster.unclean(account)
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
        if LOCK_FILE_EXISTS not in reason:
            raise self._failure("PostgreSQL ended while it started.", log_start)
        if time.monotonic() > deadline_s:
            raise self._failure(f"Processes of a killed server have not ended in {REMAINS_WAIT_S:.0f} s.", log_start)
        self._say("processes of the server that was killed are still ending: waiting for them")
        time.sleep(REMAINS_POLL_S)

    def _wait(self, process: psutil.Process, doing: str) -> bool:
        """Wait until the server answers; False if it ends first. There is no limit: recovery may take any time."""
        began_s = time.monotonic()
        say_at_s = began_s + SAY_EVERY_S
        while alive(process):
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
        """Create the role and the database if missing: a kill may have come between initdb and this."""
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
