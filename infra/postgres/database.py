"""The database of the settings, and the roles for connecting to it."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
from psycopg.conninfo import conninfo_to_dict

from infra.postgres.account import EmbeddedError
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.postgres.folder import FolderHeld
from infra.postgres.migrate import check_ready, migrate
from infra.running.secret import load_secret
from infra.running.settings import SettingError, Settings

LAUNCH_TIMEOUT_S = 10.0  # until a new server has written its process id
POLL_S = 0.02


def embedded(settings: Settings, say: Callable[[str], None] = lambda _: None) -> EmbeddedPostgres | None:
    """The embedded server of these settings; None if they name an external database."""
    return None if settings.database_url else EmbeddedPostgres(settings.data_dir, say=say)


def application_conninfo(settings: Settings) -> str:
    """How the application connects: a role that can INSERT and SELECT on the log, nothing else."""
    server = embedded(settings)
    return server.conninfo(APPLICATION) if server else settings.database_url


def owner_conninfo(settings: Settings) -> str:
    """The owner's connection string, for migrations. Raises SettingError if only the application's role is known."""
    server = embedded(settings)
    if server:
        return server.conninfo(OWNER)
    if not settings.database_owner_url:
        raise SettingError("IGOB_DATABASE_OWNER_URL must be set to migrate a database of your own")
    return settings.database_owner_url


def application_role(settings: Settings) -> str:
    """The name of the application's role, to which migrations grant privileges."""
    if not settings.database_url:
        return APPLICATION
    return str(conninfo_to_dict(settings.database_url)["user"])  # settings without one are refused


def bring_up_to_date(settings: Settings) -> list[str]:
    """Migrate as the owner if possible, and check that the application has all it needs. Returns what was applied.

    Raises MigrationError, SettingError, or psycopg.OperationalError if the database does not answer.
    """
    secret = load_secret(settings)
    done = []
    if not settings.database_url or settings.database_owner_url:
        done = migrate(
            owner_conninfo(settings), schema=settings.schema, application_role=application_role(settings), secret=secret
        )
    check_ready(application_conninfo(settings), schema=settings.schema, secret=secret)
    return done


@contextmanager
def running_database(
    settings: Settings, what: str, say: Callable[[str], None], *, alone: bool = False
) -> Iterator[EmbeddedPostgres | None]:
    """The database of the settings, running and up to date while the block runs; the server, if it is embedded.

    An embedded one is started unless another process runs it, and stopped afterwards if it was started here: at once if
    this process is to be `alone`, else when all other users have finished. `what` names this process in messages of
    others. Raises FolderHeld if the folder is held and this process must be `alone`, or nothing runs there yet;
    EmbeddedError if the folder can't be used.
    """
    server = embedded(settings, say)
    if server is None:
        bring_up_to_date(settings)
        yield None
        return
    with ExitStack() as held:
        users_fd = held.enter_context(_counted_as_user(server, say))
        try:
            held.enter_context(server.hold(what))
        except FolderHeld:
            if alone or server.status().state != "running":
                raise
        else:
            held.callback(_release, server)
            if not alone:
                held.callback(_await_other_users, server, users_fd, say)
            server.start()
        bring_up_to_date(settings)
        yield server


@contextmanager
def _counted_as_user(server: EmbeddedPostgres, say: Callable[[str], None]) -> Iterator[int]:
    """Hold the file `users` of the folder, shared, while the block runs; its descriptor."""
    server.status()  # a folder of somebody else's is refused before anything is written there
    path = server.folder / "users"
    try:
        server.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        users_fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise EmbeddedError(f"The database folder {server.folder} can't be used: {error}") from error
    try:
        _lock(users_fd, fcntl.LOCK_SH, say, "waiting for another process, which is stopping the database")
        yield users_fd
    finally:
        os.close(users_fd)


def _release(server: EmbeddedPostgres) -> None:
    """Release the server, even if a signal comes meanwhile."""
    try:
        _find_and_release(server)
    except (KeyboardInterrupt, SystemExit):
        _find_and_release(server)
        raise


def _find_and_release(server: EmbeddedPostgres) -> None:
    """Release the server, even if a signal interrupted its launch before its process was recorded."""
    pid_file = server.data / "postmaster.pid"
    for child in psutil.Process().children():
        deadline_s = time.monotonic() + LAUNCH_TIMEOUT_S
        with suppress(psutil.Error, OSError):
            while child.is_running() and str(server.data) in child.cmdline() and time.monotonic() < deadline_s:
                # This file is needed to find and stop it.
                if pid_file.exists() and pid_file.read_text(encoding="utf-8").startswith(f"{child.pid}\n"):
                    break
                time.sleep(POLL_S)
    server.release()


def _await_other_users(server: EmbeddedPostgres, users_fd: int, say: Callable[[str], None]) -> None:
    """Return when no other process uses the server. New ones then wait until this process has finished."""
    if not server.status().kept:
        _lock(users_fd, fcntl.LOCK_EX, say, f"waiting for others to finish with the database in {server.folder}")


def _lock(lock_fd: int, kind: int, say: Callable[[str], None], why: str) -> None:
    """Take the lock; if it must wait, say why first. The wait has no limit, because others' work may take any time."""
    try:
        fcntl.flock(lock_fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        say(why)
        fcntl.flock(lock_fd, kind)
