"""`igob serve` as a real program with real clients, for tests that kill parts of it."""

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import psutil

from bench.login import SECRET, bearer
from infra.cli.main import app
from infra.postgres.process import alive
from tests import programs
from tests.clusters import prepare
from tests.programs import LIBRARIES, Program

IGOB = [sys.executable, "-c", "from infra.cli.main import main; main()"]
CHECKOUT = programs.CHECKOUT
READY_S = 60
IGOB_TIMEOUT_S = 120
STOP_S = 50  # longer than the server waits for a worker before it kills it


def environment(**more: str) -> dict[str, str]:
    """Ours, without any setting of the person who runs the tests; with a secret by which anybody can make tokens, and
    ask as often as they like.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("IGOB_")}
    return own | {"IGOB_SECRET": SECRET, "IGOB_REQUESTS_PER_S": "0", "IGOB_ANONYMOUS_PER_S": "0"} | more


def igob(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a subcommand to its end."""
    return ran(arguments, environment(**settings))


def ran(arguments: Sequence[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """An `igob` that ran to its end, in a process that had imported the libraries already, but nothing of ours."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        outputs = stdout.fileno(), stderr.fileno()
        program = Program(arguments, environment, outputs=outputs, imported=LIBRARIES)
        try:
            status = program.wait(IGOB_TIMEOUT_S)
        except BaseException:
            program.kill()
            program.wait()
            raise
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(arguments, status, stdout.read(), stderr.read())


def igob_here(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """What `igob` does, in this process: for a subcommand that is refused before it begins."""
    stdout, stderr = io.StringIO(), io.StringIO()
    status = 0
    with (
        patch.dict(os.environ, environment(**settings), clear=True),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        try:
            app(arguments)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return subprocess.CompletedProcess(arguments, status, stdout.getvalue(), stderr.getvalue())


def called(processes: Iterable[psutil.Process], word: str) -> list[psutil.Process]:
    """Those with the word in their name or command line; who ended meanwhile is left out."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if word in " ".join((process.name(), *process.cmdline())):
                found.append(process)
    return found


class Serving:
    """One `igob serve`: what it said, its address, its processes.

    It is forked from a process that has imported it already, unless it is to be started as a shell does.
    """

    def __init__(
        self, *arguments: str, port: int = 0, settings: Mapping[str, str] | None = None, as_a_shell_does: bool = False
    ) -> None:
        words, own = ["serve", "--port", str(port), *arguments], environment(**settings or {})
        self.process: subprocess.Popen[str] | Program
        reading, writing = os.pipe()
        self._stderr = os.fdopen(reading)
        if as_a_shell_does:
            self.process = subprocess.Popen(
                [*IGOB, *words], cwd=CHECKOUT, env=own, stderr=writing, stdout=subprocess.DEVNULL,
                text=True, start_new_session=True,
            )  # fmt: skip
        else:
            with Path(os.devnull).open("wb") as nowhere:
                self.process = Program(words, own, outputs=(nowhere.fileno(), writing))
        os.close(writing)
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._stderr:
            self.said.append(line.rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self.said)

    def url(self) -> str:
        """The address, once it is ready."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"is ready: (http\S+)/graphql", self.output)
            if found:
                return found[1]
            time.sleep(0.02)
        raise AssertionError(f"not ready:\n{self.output}")

    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return called(children, "igob-worker")

    def stop(self) -> int:
        """Ask it to stop, and wait: its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            left = [child.cmdline() for child in psutil.Process(self.process.pid).children(recursive=True)]
            raise AssertionError(f"it does not stop; {left} are left, and it said {self.output[-2_000:]}") from None
        self._reader.join(STOP_S)
        self._stderr.close()
        return status

    def kill_everything(self, folder: Path) -> None:
        """SIGKILL to the server, its workers and its database, all at once."""
        victims = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        postmaster = postmaster_of(folder)
        if postmaster:
            victims += [postmaster, *postmaster.children(recursive=True)]
        for victim in victims:
            with_suppressed_absence(victim.kill)
        deadline = time.monotonic() + STOP_S
        while any(alive(victim) for victim in victims):  # whoever adopts orphans may take seconds to reap them
            assert time.monotonic() < deadline
            time.sleep(0.005)
        self.stop()


def with_suppressed_absence(act: Any) -> None:
    """Do it unless the process has gone meanwhile."""
    try:
        act()
    except psutil.NoSuchProcess:
        return


def postmaster_of(folder: Path) -> psutil.Process | None:
    """The PostgreSQL that runs in an embedded database's folder."""
    try:
        output = (folder / "pg" / "postmaster.pid").read_text().split("\n", 1)[0]
        return psutil.Process(int(output)) if output else None  # empty while it is being written
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None


@contextmanager
def serving(
    folder: Path, *arguments: str, port: int = 0, prepared: bool = True, as_a_shell_does: bool = False
) -> Iterator[Serving]:
    """Serve on a folder until the block ends; nothing of it is left running.

    A new folder is `prepared`, unless the test is about a first start.
    """
    if prepared:
        prepare(folder)
    server = Serving("--data-dir", str(folder), *arguments, port=port, as_a_shell_does=as_a_shell_does)
    try:
        yield server
    finally:
        server.stop()


class Home:
    """A data folder that tests share: it is served whenever one of them asks, and again after one has ended that.

    A new folder is prepared, unless somebody has served it before.
    """

    def __init__(self, folder: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._arguments = arguments
        self._settings = settings
        self._server: Serving | None = None

    def served(self, *, port: int = 0) -> Serving:
        """What serves it now, and is ready; begun on that port if nothing does."""
        if self._server is None or self._server.process.poll() is not None:
            self.stop()
            folder = str(prepare(self.folder))
            self._server = Serving("--data-dir", folder, *self._arguments, port=port, settings=self._settings)
        self._server.url()
        return self._server

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


@contextmanager
def home(folder: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> Iterator[Home]:
    """Nothing of it is left running when the block ends."""
    one = Home(folder, *arguments, settings=settings)
    try:
        yield one
    finally:
        one.stop()


def get(url: str, *, timeout_s: float = 20) -> httpx.Response:
    """What is there, by a connection of its own. Reading the system's certificates for it would take 30 ms."""
    return httpx.get(url, timeout=timeout_s, verify=False, trust_env=False)  # noqa: S501 (loopback)


class _Client(httpx.Client):
    """Closed when nobody has it any more."""

    def __del__(self) -> None:
        self.close()


class _Clients(threading.local):
    """A client for each thread, closed with it: one that threads share may close a connection as idle, when it keeps
    too many, just after it gave it to somebody.
    """

    def __init__(self) -> None:
        # Reading the system's certificates for each would take long, and for nothing on loopback.
        self.http = _Client(verify=False, trust_env=False, timeout=20, headers={"Authorization": bearer()})


_clients = _Clients()


def gql(url: str, query: str, **variables: Any) -> dict[str, Any]:
    """One request of a developer's, from any thread. Raises httpx.HTTPError."""
    answer = _clients.http.post(f"{url}/graphql", json={"query": query, "variables": variables})
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found
