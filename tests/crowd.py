"""Followers of agendas or lines in a separate process: `python -m tests.crowd URL FOLLOWERS agenda|line ID…`.

In a separate process nothing delays the times that they record.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.following import AGENDA, BOARD
from tests.lean import LeanSocket, open_lean
from tests.serving import CHECKOUT, environment

QUERIES = {"agenda": AGENDA, "line": BOARD}
OPENED_AT_ONCE = 50
TOLD_TIMEOUT_S = 30

Told = list[tuple[float, dict[str, Any]]]  # when, by the clock on the wall, and what


class Crowd:
    """Followers that have received their first state."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def told(self, last: Mapping[str, int]) -> list[tuple[str, Told]]:
        """The messages of each follower until the last position of what it follows, with that position."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(last) + "\n")
        self._process.stdin.flush()
        found: list[tuple[str, Told]] = json.loads(self._process.stdout.readline())
        return found


@contextmanager
def crowd(url: str, followers: int, ids: list[str], *, kind: str = "agenda") -> Iterator[Crowd]:
    """Followers that share the agendas or lines evenly, until the block ends."""
    command = [sys.executable, "-m", "tests.crowd", url, str(followers), kind, *ids]
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield Crowd(process)
        finally:
            process.kill()


async def _follow(url: str, followers: int, kind: str, ids: list[str]) -> None:
    places = asyncio.Semaphore(OPENED_AT_ONCE)

    async def one(followed: str) -> tuple[str, LeanSocket]:
        async with places:
            socket = await open_lean(url)
            socket.say(type="subscribe", id="1", payload={"query": QUERIES[kind], "variables": {"id": followed}})
            await socket.until(b'"next"')
            return followed, socket

    all_of_them = await asyncio.gather(*(one(ids[number % len(ids)]) for number in range(followers)))
    print("ready", flush=True)  # noqa: T201
    last = json.loads(await asyncio.to_thread(sys.stdin.readline))
    async with asyncio.timeout(TOLD_TIMEOUT_S):
        for followed, socket in all_of_them:
            await socket.until(f'"position":"{last[followed]}"'.encode())
    print(json.dumps([(followed, socket.told()) for followed, socket in all_of_them]), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_follow(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
