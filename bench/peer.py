"""The peer of `igob bench graphql`: a plain table and a stored function behind PostGraphile 5 on Node 22.

The table is that of `igob bench core`: one row per booking, unique by agenda and slot; no events, no idempotency keys,
no rules about patients. It is served for speed: production mode, Node's own HTTP server, prepared statements, only the
API, one process or a cluster of two.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil

from bench.core import SLOTS
from infra.postgres.embedded import OWNER, EmbeddedPostgres

HERE = Path(__file__).parent / "postgraphile"
PROCESSES = (1, 2)
CONNECTIONS = (32, 64, 128)
POOL_CONNECTIONS = 32  # to PostgreSQL, shared by the processes
INSTALL_TIMEOUT_S = 600
READY_TIMEOUT_S = 60.0
READY_POLL_S = 0.05
STOP_TIMEOUT_S = 10.0
BOOK = "mutation ($input: BookInput!) { book(input: $input) { result } }"


class PeerMissing(Exception):
    """The peer can't be started here; the message says in a line what is missing."""


class Served(NamedTuple):
    """A running server: its address, its topmost process, and its own description."""

    url: str
    pid: int
    versions: str = ""


class Bare(msgspec.Struct, frozen=True):
    """Bookings of the plain table, each of a different slot."""

    def requests(self, host: str, first: int, count: int) -> list[bytes]:
        return [self._request(host, number) for number in range(first, first + count)]

    def refusals(self, data: Any) -> list[str]:
        return [] if data["book"]["result"] else ["slot_taken"]

    def _request(self, host: str, number: int) -> bytes:
        agenda, slot = divmod(number, SLOTS)
        wanted = {"wantedAgenda": str(agenda), "wantedSlot": slot + 1, "who": str(number)}
        return post(host, {"query": BOOK, "variables": {"input": wanted}})


def post(host: str, document: dict[str, Any], token: str = "") -> bytes:
    """A GraphQL request encoded for the wire; `token` is the value of the header `Authorization`."""
    body = msgspec.json.encode(document)
    head = (
        f"POST /graphql HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        + (f"Authorization: {token}\r\n" if token else "")
        + f"Accept: application/graphql-response+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def install() -> Path:
    """Install Node 22's PostGraphile from the npm packages of the lock file. Raises PeerMissing."""
    npm, made, lock = shutil.which("npm"), HERE / "node_modules", HERE / "package-lock.json"
    if npm is None:
        raise PeerMissing("--peer needs npm, which is not installed")
    stamp = made / ".package-lock.json"  # npm writes it last
    if not stamp.exists() or stamp.stat().st_mtime < lock.stat().st_mtime:
        try:
            installation = subprocess.run(
                [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=HERE, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise PeerMissing(f"--peer: npm ci did not end within {INSTALL_TIMEOUT_S} s") from None
        if installation.returncode:
            raise PeerMissing(f"--peer: npm ci failed: {' '.join(installation.stderr.split())[:300]}")
    node = made / ".bin" / "node"
    if not node.exists():
        raise PeerMissing("--peer: there is no npm package of Node 22 for this kind of machine")
    return node


@contextmanager
def serving_peer(server: EmbeddedPostgres, processes: int) -> Iterator[Served]:
    """PostGraphile on the tables in `public` while the block runs. Raises PeerMissing if it does not start."""
    database = f"postgresql://{OWNER}@/igob?host={server.socket}"
    with tempfile.TemporaryDirectory(prefix="igob-bench-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [install(), "server.mjs", database, str(processes), str(POOL_CONNECTIONS // processes)],
                cwd=HERE, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True,
                env={"PATH": os.environ["PATH"], "NODE_ENV": "production", "GRAPHILE_ENV": "production"},
            )  # fmt: skip
        try:
            yield _ready(process, log)
        finally:
            _stop(process)


def _ready(process: "subprocess.Popen[bytes]", log: Path) -> Served:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        ready = re.search(r"^ready (\S+) (.+)\n", log.read_text(), re.MULTILINE)
        if ready:
            return Served(ready[1], process.pid, ready[2])
        time.sleep(READY_POLL_S)
    raise PeerMissing(f"--peer: PostGraphile is not ready: {' '.join(log.read_text().split())[:300]}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop it and its cluster; kill processes that do not exit."""
    root = psutil.Process(process.pid) if process.poll() is None else None
    every = [root, *root.children(recursive=True)] if root else []
    process.terminate()
    _, left = psutil.wait_procs(every, STOP_TIMEOUT_S)
    for one in left:
        one.kill()
    process.wait()
    assert process.stdin
    process.stdin.close()
