"""`igob serve`: the database, the API workers, the projector and the scheduler, as one program that starts and stops as
a whole.

Each part is a process of its own, which is started again when it dies. The workers share one listening socket.
"""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress

from infra.postgres.database import running
from infra.postgres.embedded import EmbeddedPostgres
from infra.running.part import SERVED_BY
from infra.running.places import shared_folder
from infra.running.settings import PREFIX, SettingError, Settings, is_loopback

WATCH_EVERY_S = 0.5
RESTART_PAUSE_S = 5  # between failing attempts
WORKERS_PAUSE_S = 1  # before a part that died is restarted
READY_POLL_S = 0.05
READY_TIMEOUT_S = 5
VIEWS_WAIT_S = 10  # after a start read models have little to catch up with, unless they are new
STOP_TIMEOUT_S = 40  # longer than any request takes: open requests are answered first
STOP_POLL_S = 0.2
CONNECTIONS_MAX = 5_000  # of a worker, without WebSockets; further ones get 503
BACKLOG_MAX = 1_024  # connections waiting to be accepted
OTHER_FILES_MAX = 3_000  # of a worker: WebSockets, connections to the database, the program itself


def _starting(module: str) -> list[str]:
    """The command that runs `main` of a module in a process of its own; infra may not import api.

    Garbage collection is off during imports, and what they made is frozen: none of it is garbage, and to look through
    it takes a fifth of the time that a worker takes to start.
    """
    code = f"import gc; gc.disable(); from {module} import main; gc.freeze(); gc.enable(); main()"
    return [sys.executable, "-c", code]


WORKER = _starting("api.http.worker")
PARTS = {name: _starting(f"infra.cli.parts.{name}") for name in ("projector", "scheduler")}


def refuse_strangers(settings: Settings, host: str) -> None:
    """Raise SettingError if other machines could reach a server that accepts tokens of the development key."""
    if not settings.oidc_issuer and not is_loopback(host):
        raise SettingError(
            f"without an identity provider ({PREFIX}OIDC_ISSUER) the host must be 127.0.0.1, ::1 or localhost, not"
            f' "{host}": whoever has the development key of this installation can act as anybody'
        )


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    workers: int,
    say: Callable[[str], None],
    prepare: Callable[[], None],
) -> None:
    """Serve until SIGINT or SIGTERM, with several worker processes, each with its own lane on the one log.

    `prepare` runs when the database is ready, before the first request.

    Raises FolderHeld, EmbeddedError, MigrationError; SettingError also if the port is taken; SystemExit if no worker
    could start.
    """
    refuse_strangers(settings, host)
    host = "127.0.0.1" if host == "localhost" else host  # localhost may have two addresses, a socket has one
    with closing(_listen(host, port)) as listening:
        port = listening.getsockname()[1]
        # The parts are separate processes, which read the settings from the environment.
        os.environ[f"{PREFIX}DATA_DIR"] = str(settings.data_dir.absolute())
        os.environ[SERVED_BY] = str(os.getpid())
        with running(settings, "igob serve", say, alone=True) as server, shared_folder():
            prepare()
            _run_parts(server, listening, workers, say, url=_url(host, port), explorable=settings.explorable)


def _run_parts(
    server: EmbeddedPostgres | None,
    listening: socket.socket,
    workers: int,
    say: Callable[[str], None],
    *,
    url: str,
    explorable: bool,
) -> None:
    """Run all parts except the database until a signal. Raises SystemExit if no worker could start."""
    stop, done, ready, failed = (threading.Event() for _ in range(4))
    descriptor = listening.fileno()
    worker = [*WORKER, str(descriptor)]

    def keep_worker() -> None:
        _keep_running("worker", worker, done, say, pass_fds=[descriptor], ready=ready, failed=failed)

    watched = [
        threading.Thread(target=_announce, args=(url, done, ready, say), kwargs={"explorable": explorable}),
        threading.Thread(target=_watch_database, args=(server, done, say)),
        *(threading.Thread(target=_keep_running, args=(name, part, done, say)) for name, part in PARTS.items()),
        *(threading.Thread(target=keep_worker) for _ in range(workers)),
    ]
    with _stop_on_signals(stop):
        try:
            for thread in watched:
                thread.start()
            while not stop.wait(STOP_POLL_S) and not failed.is_set():
                pass
        finally:
            done.set()  # before the socket is closed: no worker may be started with its descriptor
            listening.close()  # refuse new connections instead of queueing them for a server that stops
            for thread in watched:
                if thread.ident:  # started
                    thread.join()
    if failed.is_set() and not stop.is_set():
        say("no worker could start")
        raise SystemExit(1)


@contextmanager
def _stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """Set the event at SIGINT or SIGTERM while the block runs."""
    former = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def connections_for(files: int) -> int:
    """The maximum number of connections of a worker that may open `files` files (or RLIM_INFINITY)."""
    if files == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return max(1, min(CONNECTIONS_MAX, files - OTHER_FILES_MAX), min(CONNECTIONS_MAX, files // 4))


def _keep_running(
    name: str,
    command: Sequence[str],
    done: threading.Event,
    say: Callable[[str], None],
    *,
    pass_fds: Sequence[int] = (),
    ready: threading.Event | None = None,
    failed: threading.Event | None = None,
) -> None:
    """Run a part as a process, and restart it when it dies.

    If it exits with an error before any worker was `ready`, a restart would fail again: set `failed` and return.
    """
    while not done.is_set():
        # A session of its own: Ctrl-C goes to this process, which stops the part.
        try:
            part = subprocess.Popen(command, start_new_session=True, pass_fds=pass_fds)
        except OSError as error:
            say(f"the {name} does not start: {error}")
            done.wait(RESTART_PAUSE_S)
            continue
        while part.poll() is None and not done.wait(WATCH_EVERY_S):
            pass
        if not done.is_set():
            if ready and failed and not ready.is_set() and part.returncode > 0:
                failed.set()
                return
            say(f"the {name} died; starting it again")
            done.wait(WORKERS_PAUSE_S)
            continue
        _stop_part(name, part, say)


def _stop_part(name: str, part: "subprocess.Popen[bytes]", say: Callable[[str], None]) -> None:
    part.terminate()
    try:
        part.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        say(f"the {name} does not stop; killing it")
        part.kill()
        part.wait()


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _announce(
    url: str,
    done: threading.Event,
    ready: threading.Event,
    say: Callable[[str], None],
    *,
    explorable: bool = False,
) -> None:
    """Print the address and set `ready` once the first worker is ready; a little later if read models lag."""
    wait_until_s = time.monotonic() + VIEWS_WAIT_S
    # Whatever the error, such as an answer that is not HTTP: try again.
    while not done.wait(READY_POLL_S):
        with suppress(Exception), urllib.request.urlopen(f"{url}/readyz", timeout=READY_TIMEOUT_S) as answer:  # noqa: S310 (our own)
            ready.set()
            behind = [name for name, view in json.load(answer)["views"].items() if not view or view["lagEvents"]]
            if behind and time.monotonic() < wait_until_s:
                continue
            say(f"iGob Core is ready: {url}/graphql")
            if explorable:
                say(f"try it in a browser: {url}/")
            if behind:
                say(f"read models are still being built: {', '.join(behind)}")
            return


def _watch_database(server: EmbeddedPostgres | None, done: threading.Event, say: Callable[[str], None]) -> None:
    """Restart the embedded server if it was killed. The workers reconnect by themselves."""
    while server and not done.wait(WATCH_EVERY_S):
        try:
            if server.status().state == "stopped":
                say("the database stopped; starting it again")
                server.start()
        except Exception as error:  # whatever the error: try again
            with suppress(Exception):  # nobody may be left to read it
                say(f"the database does not start: {error}")
            done.wait(RESTART_PAUSE_S)


def _listen(host: str, port: int) -> socket.socket:
    """The socket that all workers share; port 0 for any free port. Raises SettingError if it can't be opened."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG_MAX)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)  # str(error) repeats the address
        raise SettingError(f"can't listen on {_url(host, port).removeprefix('http://')}: {reason}") from error
