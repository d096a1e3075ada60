"""Another process that holds a folder, starts its server and reports events in lines of JSON."""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from infra.postgres.account import EmbeddedError
from infra.postgres.embedded import EmbeddedPostgres
from infra.postgres.folder import FolderHeld
from tests.programs import CHECKOUT, Piped

STEP_LIMIT_S = 30.0
MILLION = 1_000_000


class Driver:
    """It runs `drive`. With a `prefix`, which gives it other rights, it is started anew; else forked."""

    def __init__(self, folder: Path, *words: str, prefix: tuple[str, ...] = ()) -> None:
        arguments = (str(folder), *words)
        self.process: subprocess.Popen[str] | Piped
        if prefix:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", __name__, *arguments],
                cwd="/",
                env=os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        else:
            self.process = Piped(f"{__name__}:drive", *arguments, environment=dict(os.environ))

    def next(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"the driver ended with {self.process.wait()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def until(self, key: str) -> Any:
        """The first line that has `key`; a deadline is pytest's."""
        while True:
            line = self.next()
            if key in line:
                return line[key]
            assert "error" not in line, line

    def go_on(self) -> None:
        """Let it release the server."""
        assert self.process.stdin
        self.process.stdin.close()

    def finish(self) -> int:
        """Let it release the server and end; return its exit code."""
        self.process.communicate(timeout=STEP_LIMIT_S)
        assert self.process.returncode is not None
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()


@contextmanager
def driver(folder: Path, *words: str, prefix: tuple[str, ...] = ()) -> Iterator[Driver]:
    process = Driver(folder, *words, prefix=prefix)
    try:
        yield process
    finally:
        process.kill()


def drive() -> None:
    """The program of a Driver. Its words are the folder and what it is to do."""
    folder, words = Path(sys.argv[1]), sys.argv[2:]

    def tell(**line: object) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    if "plain" in words:  # the server is to start without the capability that brought Python here
        ctypes.CDLL(None).prctl(47, 4, 0, 0, 0)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL
    database = EmbeddedPostgres(folder, say=lambda text: tell(said=text))
    try:
        with database.hold("a driver"):
            database.start(keep="keep" in words)
            try:
                tell(ready=database.status().pid, holder=os.getpid(), uid=os.geteuid())
                if "commit" in words:
                    commit_for_ever(database, tell)
                sys.stdin.read()
            except KeyboardInterrupt:
                tell(interrupted=database.status().state)
            database.release()
            tell(state=database.status().state)
    except FolderHeld as held:
        tell(held=held.pid, what=held.what, since=held.since, text=str(held))
    except EmbeddedError as error:
        tell(error=str(error))


def commit_for_ever(database: EmbeddedPostgres, tell: Any) -> None:
    with psycopg.connect(database.conninfo("igob_owner"), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS receipt (n int PRIMARY KEY, text text NOT NULL)")
        for n in range(MILLION):
            connection.execute("INSERT INTO receipt VALUES (%s, %s)", [n, f"receipt {n} " * 20])
            tell(committed=n)


if __name__ == "__main__":
    drive()
