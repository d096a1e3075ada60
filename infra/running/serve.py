"""`igob serve`: the database, the API workers, the projector and the scheduler, as one program that starts and stops as
a whole.

Each part is a process of its own, forked from this one and started again when it dies. See
docs/adr/0019-parts-are-forked.md. The workers share one listening socket.
"""

import errno
import gc
import json
import mmap
import os
import resource
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from importlib import import_module

from infra.postgres.database import running_database
from infra.postgres.embedded import EmbeddedPostgres
from infra.running.address import address_kept
from infra.running.forking import STOPPING
from infra.running.part import SERVED_BY, server_is_gone
from infra.running.parts import RESTART_PAUSE_S, Part, Parts
from infra.running.places import shared_folder
from infra.running.settings import PREFIX, SettingError, Settings, is_loopback

POLL_S = 0.05
WATCH_EVERY_S = 0.5  # how often to look whether the database runs
READY_POLL_S = 0.05
READY_TIMEOUT_S = 5
VIEWS_WAIT_S = 10  # after a start read models have little to catch up with, unless they are new
CONNECTIONS_MAX = 5_000  # of a worker, without WebSockets; further ones get 503
PORT_MAX = 65_535
BACKLOG_MAX = 1_024  # connections waiting to be accepted
OTHER_FILES_MAX = 3_000  # of a worker: WebSockets, connections to the database, the program itself


# Modules whose `main` a part runs, by name because infra may not import api. A worker's takes the listening socket.
WORKER = "api.http.worker"
OTHERS = {"projector": "infra.cli.parts.projector", "scheduler": "infra.cli.parts.scheduler"}


class NoWorkerError(Exception):
    """A worker ended with an error before any was ready."""


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
    """Serve until SIGINT or SIGTERM, with several worker processes, each with its own committer on the one log.

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
        url = _url(host, port)
        with running_database(settings, "igob serve", say, alone=True) as server, shared_folder():
            prepare()
            with address_kept(settings.data_dir, url):
                _run_parts(server, listening, workers, say, url=url, explorable=settings.explorable)


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
    mains = _import_parts()
    ready = mmap.mmap(-1, 1)  # shared with the announcer, which sets it to 1

    def worker_failed() -> None:
        if not ready[0]:  # a restart would fail again
            raise NoWorkerError

    run_worker, fds = partial(mains["worker"], listening), [listening.fileno()]
    announce = partial(_announce, url, ready, say, explorable=explorable)
    parts = Parts(
        [
            *(Part("worker", run_worker, keep_fds=fds, failed=worker_failed) for _ in range(workers)),
            *(Part(name, mains[name]) for name in OTHERS),
            Part("announcer", announce, once=True),
        ],
        say,
    )
    watch = DatabaseWatch(server, parts, say)
    with _stopping_signals() as stopping:
        try:
            while not stopping:
                parts.tick()
                watch.tick()
                time.sleep(POLL_S)
        except NoWorkerError:
            say("no worker could start")
            raise SystemExit(1) from None
        finally:
            listening.close()  # refuse new connections instead of queueing them for a server that stops
            parts.stop()


def _import_parts() -> dict[str, Callable[..., object]]:
    """What each part runs. What the imports made is none of it garbage: it is frozen, so that no part, by looking
    through it, gets a copy of its memory.
    """
    gc.disable()
    mains = {name: import_module(module).main for name, module in {"worker": WORKER, **OTHERS}.items()}
    gc.freeze()
    gc.enable()
    return mains


@contextmanager
def _stopping_signals() -> Iterator[list[int]]:
    """The signals to stop that came while the block runs."""
    came: list[int] = []
    former = {number: signal.signal(number, lambda got, _: came.append(got)) for number in STOPPING}
    try:
        yield came
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def connections_for(files: int) -> int:
    """The maximum number of connections of a worker that may open `files` files (or RLIM_INFINITY)."""
    if files == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return max(1, min(CONNECTIONS_MAX, files - OTHER_FILES_MAX), min(CONNECTIONS_MAX, files // 4))


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _announce(
    url: str,
    ready: mmap.mmap,
    say: Callable[[str], None],
    *,
    explorable: bool = False,
) -> None:
    """Print the address and set `ready` once the first worker is ready; a little later if read models lag."""
    wait_until_s = time.monotonic() + VIEWS_WAIT_S
    while not server_is_gone():
        time.sleep(READY_POLL_S)
        # Whatever the error, such as an answer that is not HTTP: try again.
        with suppress(Exception), urllib.request.urlopen(f"{url}/readyz", timeout=READY_TIMEOUT_S) as answer:  # noqa: S310 (our own)
            ready[0] = 1
            behind = [name for name, view in json.load(answer)["views"].items() if not view or view["lagEvents"]]
            if behind and time.monotonic() < wait_until_s:
                continue
            say(f"iGob Core is ready: {url}/graphql")
            if explorable:
                say(f"try it in a browser: {url}/")
            if behind:
                say(f"read models are still being built: {', '.join(behind)}")
            return


class DatabaseWatch:
    """Starts the embedded server again if it was killed. The workers reconnect by themselves.

    A part does that, because recovery may take any time and the others are to be looked after meanwhile.
    """

    def __init__(self, server: EmbeddedPostgres | None, parts: Parts, say: Callable[[str], None]) -> None:
        self._server = server
        self._parts = parts
        self._say = say
        self._look_at_s = 0.0
        self._starting: Part | None = None

    def tick(self) -> None:
        """Look, if it is time to and the server is not being started."""
        now_s = time.monotonic()
        if self._server is None or now_s < self._look_at_s or self._starting in self._parts:
            return
        self._look_at_s = now_s + WATCH_EVERY_S
        try:
            if self._server.has_stopped():
                self._say("the database stopped; starting it again")
                start = partial(self._start, self._server)
                self._starting = Part("database starter", start, once=True, patient=True, failed=self._pause)
                self._parts.add(self._starting)
        except Exception as error:  # whatever the error: try again
            self._cannot(error)
            self._pause()

    def _pause(self) -> None:
        self._look_at_s = time.monotonic() + RESTART_PAUSE_S

    def _start(self, server: EmbeddedPostgres) -> None:
        try:
            server.start()
        except Exception as error:
            self._cannot(error)
            raise SystemExit(1) from None

    def _cannot(self, error: Exception) -> None:
        with suppress(Exception):  # nobody may be left to read it
            self._say(f"the database does not start: {error}")


def _listen(host: str, port: int) -> socket.socket:
    """The socket that all workers share; port 0 for any free port. Raises SettingError if it can't be opened."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG_MAX)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)  # str(error) repeats the address
        if error.errno == errno.EADDRINUSE:
            other = port + 1 if port < PORT_MAX else port - 1
            reason += f". Choose another port with --port {other}, or with make serve PORT={other}"
        raise SettingError(f"can't listen on {_url(host, port).removeprefix('http://')}: {reason}") from error
