"""`igob` as a real program of its own, forked from a process that has imported it already.

To import it takes three quarters of the CPU time that `igob serve` takes to start. Tests about starting run it as a
shell would (`tests/serving.py`).
"""

import atexit
import gc
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

import msgspec

from infra.running.forking import Forked, fork

CHECKOUT = Path(__file__).parents[1]
EVERYTHING = (
    "infra.cli.main", "infra.cli.parts.projector", "infra.cli.parts.scheduler", "api.http.worker", "infra.demo.demo",
    "infra.running.serve",
)  # fmt: skip
# Without our modules it shows when a subcommand does not import one of them that it needs.
LIBRARIES = (
    "asyncio", "cyclopts", "rich.console", "rich.progress", "msgspec", "orjson", "psutil", "psycopg", "psycopg_pool",
    "structlog", "prometheus_client", "httpx", "joserfc.jwt", "cryptography.hazmat.primitives.ciphers.aead",
    "standardwebhooks", "graphql", "strawberry.federation", "fastapi", "uvicorn",
)  # fmt: skip
REQUEST_BYTES_MAX = 128 * 1024
STATUS_BYTES_MAX = 32


class Request(msgspec.Struct):
    """The words behind `igob`, and all of the environment. Descriptors come with it: stdout, stderr, and a socket that
    is told the process id, and later the exit status.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]


class Program:
    """A running `igob`, like a `subprocess.Popen`."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        outputs: tuple[int, int],
        imported: Sequence[str] = EVERYTHING,
    ) -> None:
        """`outputs` are the descriptors of its stdout and stderr."""
        self.returncode: int | None = None
        self._told, telling = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with telling:
            request = msgspec.msgpack.encode(Request(arguments, environment))
            socket.send_fds(_nursery(imported), [request], [*outputs, telling.fileno()])
        self.pid = int(self._told.recv(STATUS_BYTES_MAX))

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, or the negative number of the signal that ended it. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                self.returncode = int(self._told.recv(STATUS_BYTES_MAX))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("igob", timeout or 0) from None
            self._told.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def _nursery(imported: Sequence[str]) -> socket.socket:
    """To the process that imported these modules and forks programs, and ends when this socket is closed."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = f"from tests.programs import fork_programs; fork_programs({its.fileno()}, {imported})"
    with its:
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=CHECKOUT, pass_fds=[its.fileno()], start_new_session=True
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def fork_programs(asked_fd: int, imported: Sequence[str]) -> None:
    """Start a program for each request, and tell its end, until nobody can ask any more."""
    gc.disable()
    for module in imported:
        import_module(module)
    gc.freeze()
    gc.enable()
    asked = socket.socket(fileno=asked_fd)
    woken, waking = socket.socketpair()
    for one in (woken, waking):
        one.setblocking(False)
    signal.set_wakeup_fd(waking.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: list[tuple[Forked, socket.socket]] = []
    while True:
        ready, _, _ = select.select([asked, woken], [], [])
        if woken in ready:
            woken.recv(1024)
        for program, telling in running.copy():
            if (status := program.status()) is not None:
                _tell(telling, status)
                telling.close()
                running.remove((program, telling))
        if asked in ready:
            content, fds, _, _ = socket.recv_fds(asked, REQUEST_BYTES_MAX, 3)
            if not content:
                return
            running.append(_start(msgspec.msgpack.decode(content, type=Request), fds))


def _start(request: Request, fds: list[int]) -> tuple[Forked, socket.socket]:
    stdout, stderr, telling_fd = fds

    def run() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.closerange(3, max(fds) + 1)
        os.environ.clear()
        os.environ.update(request.environment)
        time.tzset()
        sys.argv = ["igob", *request.arguments]
        import_module("infra.cli.main").main()

    program = fork("igob", run, keep_fds=(stdout, stderr))
    telling = socket.socket(fileno=telling_fd)
    _tell(telling, program.pid)
    os.close(stdout)
    os.close(stderr)
    return program, telling


def _tell(telling: socket.socket, number: int) -> None:
    with suppress(OSError):  # nobody may wait for it any more
        telling.send(str(number).encode())
