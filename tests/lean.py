"""A client of WebSockets that only writes down what comes and when: a thousand of them must not be what is measured."""

import asyncio
import json
import struct
import time
from typing import Any
from urllib.parse import urlsplit

HEARD_TIMEOUT_S = 30


class LeanSocket(asyncio.Protocol):
    """One connection; `frames` takes the bytes apart that came until now."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, bytes]] = []
        self.transport: asyncio.Transport
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard.append((time.time(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def say(self, **message: Any) -> None:
        """Send a message, in a frame that is masked by zeros."""
        text = json.dumps(message).encode()
        assert len(text) < 65_536
        self.transport.write(struct.pack("!BBHI", 0x81, 0x80 | 126, len(text), 0) + text)

    async def until(self, word: bytes) -> None:
        """Until this came."""
        async with asyncio.timeout(HEARD_TIMEOUT_S):
            while not any(word in chunk for _, chunk in self.heard):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    def frames(self) -> list[tuple[float, int, bytes]]:
        """When each complete frame had come (by the clock on the wall), its opcode and its payload."""
        found, data = [], b""
        for at, chunk in self.heard:
            data += chunk
            if data.startswith(b"HTTP/1.1 101") and b"\r\n\r\n" in data:
                data = data.partition(b"\r\n\r\n")[2]
            while (frame := _first_frame(data)) is not None:
                opcode, payload, data = frame
                found.append((at, opcode, payload))
        return found

    def told(self) -> list[tuple[float, dict[str, Any]]]:
        """The `next` messages, as `tests.following.Follower.told` gives them, with when each came."""
        found = []
        for at, opcode, payload in self.frames():
            message = json.loads(payload) if opcode == 1 else {}
            if message.get("type") == "next":
                (said,) = message["payload"]["data"].values()
                numbers = {name: said[name] and int(said[name]) for name in ("position", "previous")}
                found.append((at, said | numbers))
        return found


def _first_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Opcode, payload and what follows, if a frame is complete. Servers do not mask."""
    if len(data) < 2 or data.startswith(b"HTTP"):
        return None
    length, begin = data[1], 2
    if length == 126:
        length, begin = int.from_bytes(data[2:4], "big"), 4
    elif length == 127:
        length, begin = int.from_bytes(data[2:10], "big"), 10
    if len(data) < begin + length:
        return None
    return data[0] & 0x0F, data[begin : begin + length], data[begin + length :]


async def open_lean(url: str) -> LeanSocket:
    """Connect, and say connection_init."""
    where = urlsplit(url)
    _, socket = await asyncio.get_running_loop().create_connection(LeanSocket, where.hostname or "", where.port or 0)
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    socket.transport.write(
        f"GET /graphql HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
    )
    await socket.until(b"\r\n\r\n")
    socket.say(type="connection_init")
    await socket.until(b"connection_ack")
    return socket
