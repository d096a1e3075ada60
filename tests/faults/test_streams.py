"""Following by event streams, whatever happens to the processes that tell: nothing missed, nothing doubled."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conformance.test_servers import STOPPED, serving
from tests.conformance.test_servers import Served as Worker
from tests.faults.test_live import SLOTS, Served, check, is_ready, wait_until
from tests.following import AGENDA, TOLD_TIMEOUT_S, reader
from tests.serving import CHECKOUT, environment, home

pytestmark = pytest.mark.anyio

STREAMS = 1_100  # more than the backlog of the listening socket
OPENED_AT_ONCE = 50
STOP_TIMEOUT_S = 10


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with home(tmp_path_factory.mktemp("streams") / "city", "--workers", "2") as city:
        yield Served(city)


async def test_followers_of_killed_workers_continue_in_others(served: Served) -> None:
    agenda = served.ward.publish(slots=SLOTS)
    updates: list[dict[str, Any]] = []
    cut = 0
    with served.ward.busy(agenda, pause_s=0.01):
        while cut < 2:
            # One time as programs go on, the other as browsers do by themselves.
            last = str(updates[-1]["position"]) if updates else None
            headers = {"last-event-id": last} if cut and last else {}
            async with reader(served.url, AGENDA, headers=headers, id=agenda, after="0" if headers else last) as one:
                updates += [await one.told() for _ in range(3)]
                served.server.workers()[0].kill()
                until_s = time.monotonic() + 1
                try:
                    while time.monotonic() < until_s:  # it was the other worker: it goes on
                        updates.append(await one.told())
                except httpx.HTTPError:
                    cut += 1
            await wait_until(lambda: is_ready(served.url))
    truth = served.free_slots(agenda)
    async with reader(served.url, AGENDA, id=agenda, after=str(updates[-1]["position"])) as one:
        while updates[-1]["position"] < max(truth):
            updates.append(await one.told())
    check(updates, truth)


async def test_many_streams_are_cut_at_a_stop(served: Served) -> None:
    with serving("igob", served.folder) as worker:  # one more, on a port of its own
        await many_streams(worker, served.ward.publish(slots=SLOTS))


async def many_streams(worker: Worker, agenda: str) -> None:
    streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    try:
        places = asyncio.Semaphore(OPENED_AT_ONCE)
        request = (
            f"GET /graphql?query=subscription{{agenda(id:%22{agenda}%22){{position}}}} HTTP/1.1\r\nhost: localhost\r\n"
            "accept: text/event-stream\r\n\r\n"
        ).encode()
        where = httpx.URL(worker.url)

        async def one() -> None:
            async with places:
                stream, writer = await asyncio.open_connection(where.host, where.port)
                streams.append((stream, writer))
                writer.write(request)
                await asyncio.wait_for(stream.readuntil(b'"position"'), TOLD_TIMEOUT_S)

        await asyncio.gather(*(one() for _ in range(STREAMS)))
        assert await asyncio.to_thread(is_ready, worker.url)
        begun_s = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(worker.stop))
        warned = 0
        for stream, _ in streams:
            rest = await asyncio.wait_for(stream.read(), STOP_TIMEOUT_S)
            warned += b": the server stops\n\n" in rest
            assert not rest.endswith(b"0\r\n\r\n")  # the end of a body: it would be as if nothing more were to come
        assert warned > STREAMS / 2  # a reason is said as far as possible
        assert await stopping in STOPPED
        assert time.monotonic() - begun_s < STOP_TIMEOUT_S
        assert "error" not in worker.output().lower(), worker.output()
    finally:
        for _, writer in streams:
            writer.transport.abort()


async def test_uvicorn_stops_at_once_too(served: Served) -> None:
    agenda = served.ward.publish(slots=SLOTS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uvicorn = subprocess.Popen(  # noqa: ASYNC220 (it comes back at once)
        [sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", "--port", str(port)],
        cwd=CHECKOUT,
        env=environment(IGOB_DATA_DIR=str(served.folder)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await wait_until(lambda: is_ready(url))
        async with reader(url, AGENDA, id=agenda) as one:
            await one.told()
            os.kill(uvicorn.pid, signal.SIGTERM)
            assert await one.cut() == "the server stops"
        await asyncio.to_thread(uvicorn.wait, STOP_TIMEOUT_S)
    finally:
        uvicorn.kill()
        uvicorn.wait()
