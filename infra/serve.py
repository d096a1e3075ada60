"""`igob serve`: the database, the API workers and their watchman, as one program that starts and stops as a whole."""

import asyncio
import atexit
import json
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import MPServer

from infra.database import running
from infra.embedded import EmbeddedPostgres
from infra.metrics import shared_folder
from infra.settings import PREFIX, SettingError, Settings, is_loopback

WATCH_EVERY_S = 0.5
RESTART_PAUSE_S = 5  # between attempts that fail
WORKERS_PAUSE_S = 1  # before workers that died again and again are started anew
READY_POLL_S = 0.05
READY_TIMEOUT_S = 5
VIEWS_WAIT_S = 10  # after a start read models have little to catch up with, unless they are new
STOP_TIMEOUT_S = 40  # more than any request takes: those in hand are answered first
PARENT_POLL_S = 0.25
CONNECTIONS_MAX = 5_000  # of a worker, WebSockets not counted; whoever comes then waits until another leaves
BACKLOG_MAX = 1_024  # who may wait
HEAD_TIMEOUT_MS = 30_000  # for a request's head; a connection may be idle for so long, too
HEAD_BYTES_MAX = 64 * 1024  # of a request's line and headers
OTHER_FILES_MAX = 3_000  # of a worker: WebSockets, connections to the database, the program itself
IGOB = [sys.executable, "-c", "from infra.cli import main; main()"]
PARTS = {"projector": [*IGOB, "projections", "run"], "scheduler": [*IGOB, "scheduler"]}  # each a process of its own
SERVED_BY = "IGOB_SERVED_BY"  # process id of `igob serve`, for its workers


def refuse_strangers(settings: Settings, host: str) -> None:
    """Raise SettingError if others than this machine could reach a server that takes the development key's tokens."""
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
    """Serve until SIGINT or SIGTERM, in so many worker processes, each with a lane of its own on the one log.

    `prepare` runs when the database is ready, before the first request.

    Raises FolderHeld, EmbeddedError, MigrationError; SettingError also if the port is taken.
    """
    refuse_strangers(settings, host)
    host = "127.0.0.1" if host == "localhost" else host  # Granian takes addresses only
    port = _port_to_listen_on(host, port)
    # Workers are processes of their own: they read the settings from the environment, as we did.
    os.environ[f"{PREFIX}DATA_DIR"] = str(settings.data_dir.absolute())
    os.environ[SERVED_BY] = str(os.getpid())
    # Threads of ours run beside Granian: a fork could copy a lock that one of them holds.
    multiprocessing.set_start_method("spawn", force=True)
    with running(settings, "igob serve", say, alone=True) as server:
        prepare()
        done, ready = threading.Event(), threading.Event()
        threads = [
            threading.Thread(
                target=_announce,
                args=(host, port, done, ready, say),
                kwargs={"explorable": settings.explorable},
                daemon=True,
            ),
            threading.Thread(target=_watch_database, args=(server, done, say), daemon=True),
            *(threading.Thread(target=_keep_running, args=(name, done, say), daemon=True) for name in PARTS),
        ]
        try:
            for thread in threads:
                thread.start()
            with shared_folder():
                _serve_workers(lambda: _granian(host, port, workers), ready, say)
        finally:
            done.set()
            for thread in threads:
                if thread.ident:  # started
                    thread.join()


def _granian(host: str, port: int, workers: int) -> MPServer:
    """A server whose connections all end by themselves if nothing comes.

    Without HTTP/2: where it might be spoken, Granian waits for ever for a connection's first bytes.
    """
    return MPServer(
        "api.app:create_app",
        factory=True,
        address=host,
        port=port,
        workers=workers,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,  # each request crosses from Granian's threads into the loop several times
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_TIMEOUT_MS, max_buffer_size=HEAD_BYTES_MAX),
        backlog=BACKLOG_MAX,
        backpressure=connections_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_TIMEOUT_S,
        log_level=LogLevels.warning,
    )


def connections_for(files: int) -> int:
    """How many connections a worker takes at a time that may open so many files, or any number (RLIM_INFINITY)."""
    if files == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return max(1, min(CONNECTIONS_MAX, files - OTHER_FILES_MAX), min(CONNECTIONS_MAX, files // 4))


def _serve_workers(make: Callable[[], MPServer], ready: threading.Event, say: Callable[[str], None]) -> None:
    """Serve until told to stop. Granian replaces a worker that dies, but ends if that dies within seconds too.

    Who was `ready` once goes on then: it is the machine that kills, for want of memory perhaps, not we who can't start.
    """
    granian = make()
    while True:
        try:
            granian.serve()
        except SystemExit:
            if granian.interrupt_signal or not ready.is_set():
                raise
        else:
            return
        say("workers died again and again; starting all of them anew")
        time.sleep(WORKERS_PAUSE_S)
        former, granian = granian, make()
        granian.on_startup(partial(_pass_on_stop, former, granian))


def _pass_on_stop(former: MPServer, granian: MPServer) -> None:
    """Until now the signals' handlers were the former one's."""
    if former.interrupt_signal:
        granian.interrupt_signal = True
        granian.main_loop_interrupt.set()


def become_worker() -> None:
    """In a worker of `igob serve`, before anything else: leave it to the server alone to stop us."""
    if not is_part_of_server():
        return
    # Ctrl-C goes to all of a terminal's group, and a Granian worker that is told twice to stop never does.
    with suppress(PermissionError):  # a leader already
        os.setsid()
    # All is done by then. Threads of Granian's that wake up while the interpreter is taken down abort the process.
    atexit.register(os._exit, 0)


def is_part_of_server() -> bool:
    """Whether `igob serve` started this process, and cares for the database."""
    return SERVED_BY in os.environ


def server_is_gone() -> bool:
    """In a process that `igob serve` started: whether that ended without stopping it."""
    return is_part_of_server() and os.getppid() != int(os.environ[SERVED_BY])


async def end_with_server() -> None:
    """In a worker: stop when `igob serve` is gone, or it would keep the port and the database for itself."""
    while is_part_of_server():
        if server_is_gone():
            os.kill(os.getpid(), signal.SIGTERM)
            return
        await asyncio.sleep(PARENT_POLL_S)


@contextmanager
def when_told_to_stop(act: Callable[[], None]) -> Iterator[None]:
    """While the block runs: do this in the event loop as soon as a signal says to stop, then what is done anyway.

    Servers wait for answers that are under way before they end what they serve, and some answers go on until they do.
    """
    loop = asyncio.get_running_loop()
    former: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(act)
        former[number](number, frame)

    for number in (signal.SIGINT, signal.SIGTERM):
        found = signal.getsignal(number)
        if callable(found) and threading.current_thread() is threading.main_thread():
            former[number] = found
            signal.signal(number, handle)
    try:
        yield
    finally:
        for known, before in former.items():
            signal.signal(known, before)


def _keep_running(name: str, done: threading.Event, say: Callable[[str], None]) -> None:
    """Have one of the parts as a process of its own; another if that dies."""
    while not done.is_set():
        # A session of its own: Ctrl-C is for us, who stop it.
        try:
            part = subprocess.Popen(PARTS[name], start_new_session=True)
        except OSError as error:
            say(f"the {name} does not start: {error}")
            done.wait(RESTART_PAUSE_S)
            continue
        while part.poll() is None and not done.wait(WATCH_EVERY_S):
            pass
        if not done.is_set():
            say(f"the {name} died; starting it again")
            done.wait(WORKERS_PAUSE_S)
            continue
        part.terminate()
        try:
            part.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            part.kill()
            part.wait()


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _announce(
    host: str,
    port: int,
    done: threading.Event,
    ready: threading.Event,
    say: Callable[[str], None],
    *,
    explorable: bool = False,
) -> None:
    """Say the address as soon as the first worker is `ready`, and set that; a little later if read models lag."""
    where = _url(host, port)
    wait_until_s = time.monotonic() + VIEWS_WAIT_S
    # Whatever one turn meets, an answer that is no HTTP for instance: the next looks again.
    while not done.wait(READY_POLL_S):
        with suppress(Exception), urllib.request.urlopen(f"{where}/readyz", timeout=READY_TIMEOUT_S) as answer:  # noqa: S310 (our own)
            ready.set()
            behind = [name for name, view in json.load(answer)["views"].items() if not view or view["lagEvents"]]
            if behind and time.monotonic() < wait_until_s:
                continue
            say(f"iGob Core is ready: {where}/graphql")
            if explorable:
                say(f"try it in a browser: {where}/")
            if behind:
                say(f"read models are still being built: {', '.join(behind)}")
            return


def _watch_database(server: EmbeddedPostgres | None, done: threading.Event, say: Callable[[str], None]) -> None:
    """Start the embedded server again if somebody killed it: the workers reconnect by themselves."""
    while server and not done.wait(WATCH_EVERY_S):
        try:
            if server.status().state == "stopped":
                say("the database stopped; starting it again")
                server.start()
        except Exception as error:  # whatever one turn meets: the next looks again
            with suppress(Exception):  # nobody may be left to read it
                say(f"the database does not start: {error}")
            done.wait(RESTART_PAUSE_S)


def _port_to_listen_on(host: str, port: int) -> int:
    """The port, or a free one for 0. Raises SettingError if it is taken or not ours to take."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise SettingError(f"can't listen on {_url(host, port).removeprefix('http://')}: {error.strerror}") from error
