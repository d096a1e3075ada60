"""`igob` and other programs as real processes, forked from one that has imported them or their libraries already.

To import `igob` takes three quarters of the CPU time that `igob serve` takes to start. Tests about starting run it as a
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
IGOB = "infra.cli.main:main"
# What a killed process leaves behind is the same without them; nothing here has to outlive the machine.
UNSYNCED = {"fsync": "off", "full_page_writes": "off"}
REQUEST_BYTES_MAX = 128 * 1024
FDS_MAX = 8
STATUS_BYTES_MAX = 32


class Request(msgspec.Struct):
    """A function, as `module:name`, that reads these words behind its name, and all of the environment.

    Descriptors come with it: stdin, stdout, stderr, what else the program is to have, and a socket that is told the
    process id, and later the exit status.
    """

    main: str
    arguments: Sequence[str]
    environment: Mapping[str, str]


class Program:
    """A running program, like a `subprocess.Popen`."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        outputs: tuple[int, int],
        stdin: int | None = None,
        kept: Sequence[int] = (),
        imported: Sequence[str] = EVERYTHING,
        main: str = IGOB,
    ) -> None:
        """`outputs` are the descriptors of its stdout and stderr; those that are `kept` have numbers from 3 on there.

        `main` is a function, as `module:name`.
        """
        self.returncode: int | None = None
        self._told, telling = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with telling, Path(os.devnull).open("rb") as nothing:
            request = msgspec.msgpack.encode(Request(main, arguments, environment))
            given = [nothing.fileno() if stdin is None else stdin, *outputs, *kept]
            socket.send_fds(_nursery(imported), [request], [*given, telling.fileno()])
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

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Piped(Program):
    """With pipes for text. Only libraries are imported before."""

    def __init__(self, main: str, *arguments: str, environment: Mapping[str, str]) -> None:
        (stdin, to), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
        self.stdin, self.stdout, self.stderr = os.fdopen(to, "w"), os.fdopen(out), os.fdopen(err)
        super().__init__(
            arguments, environment, outputs=(stdout, stderr), stdin=stdin, imported=LIBRARIES, main=main
        )  # fmt: skip
        for fd in (stdin, stdout, stderr):
            os.close(fd)

    def communicate(self, text: str = "", timeout: float | None = None) -> tuple[str, str]:
        """Tell it that and nothing more, and wait for its end: what it wrote, which fits into a pipe."""
        with self.stdout, self.stderr:
            if not self.stdin.closed:
                with suppress(BrokenPipeError), self.stdin:
                    self.stdin.write(text)
            self.wait(timeout)
            return self.stdout.read(), self.stderr.read()

    def close(self) -> None:
        """End it, if it runs, and the pipes."""
        self.kill()
        self.wait()
        for pipe in (self.stdout, self.stderr):
            pipe.close()
        with suppress(BrokenPipeError):
            self.stdin.close()


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
    if embedded := sys.modules.get("infra.postgres.embedded"):
        embedded.SETTINGS.update(UNSYNCED)
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
            content, fds, _, _ = socket.recv_fds(asked, REQUEST_BYTES_MAX, FDS_MAX)
            if not content:
                return
            running.append(_start(msgspec.msgpack.decode(content, type=Request), fds))


def _start(request: Request, fds: list[int]) -> tuple[Forked, socket.socket]:
    *given, telling_fd = fds
    module, _, function = request.main.partition(":")

    def run() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, fd in enumerate(given):  # which have rising numbers: none of them is overwritten
            os.dup2(fd, number)
        os.closerange(len(given), max(fds) + 1)
        os.environ.clear()
        os.environ.update(request.environment)
        time.tzset()
        sys.argv = ["igob", *request.arguments]
        getattr(import_module(module), function)()

    program = fork("igob", run, keep_fds=given)
    telling = socket.socket(fileno=telling_fd)
    _tell(telling, program.pid)
    for fd in given:
        os.close(fd)
    return program, telling


def _tell(telling: socket.socket, number: int) -> None:
    with suppress(OSError):  # nobody may wait for it any more
        telling.send(str(number).encode())
