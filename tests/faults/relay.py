"""A relay between us and PostgreSQL that breaks the connection at chosen points.

It reads the wire protocol as far as it must: where a message ends, which one calls the append, and when an answer is
complete. It runs in a thread with an event loop of its own, as the network does: whatever blocks us does not stop it.
"""

import asyncio
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

SOCKET_NAME = ".s.PGSQL.5432"
THREAD_TIMEOUT_S = 10
HEADER_BYTES = 5  # a letter, and the length of what follows with itself
LENGTH_BYTES = 4
LOST = (OSError, asyncio.IncompleteReadError)


class Fault(Enum):
    """What happens to an append. Those that hold back last until `heal` or `reset`, and nobody is told of them."""

    UNSENT = "the connection breaks before the append reaches the server"
    HALF_SENT = "the connection breaks in the middle of the append"
    UNANSWERED = "the connection breaks when the append is committed, before a byte of the answer reaches us"
    HALF_ANSWERED = "the connection breaks in the middle of the answer"
    HELD_BEFORE = "the append is held back"
    HELD_AFTER = "the append is committed and its answer is held back"


BREAKS = (Fault.UNSENT, Fault.HALF_SENT, Fault.UNANSWERED, Fault.HALF_ANSWERED)
COMMITTED = (Fault.UNANSWERED, Fault.HALF_ANSWERED, Fault.HELD_AFTER)
HOLDS = (Fault.HELD_BEFORE, Fault.HELD_AFTER)


class _Line:
    """One connection through the relay."""

    def __init__(self, relay: "Relay", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._relay = relay
        self._reader, self._writer = reader, writer
        self._server_reader: asyncio.StreamReader
        self._server_writer: asyncio.StreamWriter | None = None
        self._append_names: set[bytes] = set()  # prepared statements that are the append
        self._answer_fault: Fault | None = None
        self.passes = asyncio.Event()  # cleared: bytes are held back, in both directions

    async def run(self) -> None:
        self._server_reader, server = await asyncio.open_unix_connection(self._relay.upstream)
        self._server_writer = server
        try:
            # Each direction ends by itself: what we sent reaches the server also when we have gone meanwhile.
            await asyncio.gather(_until_lost(self._to_server(server)), _until_lost(self._to_client()))
        finally:
            self.cut()

    def cut(self) -> None:
        for writer in (self._writer, self._server_writer):
            if writer:
                writer.transport.abort()

    async def _to_server(self, server: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            length = await self._reader.readexactly(LENGTH_BYTES)  # the first message has no letter
            await self._pass(server, length + await self._reader.readexactly(_length(length) - LENGTH_BYTES))
            while True:
                message = await _message(self._reader)
                if self._is_append(message):
                    await self._pass_append(server, message)
                else:
                    await self._pass(server, message)
        await self.passes.wait()
        server.write_eof()

    def _is_append(self, message: bytes) -> bool:
        """Whether it binds parameters to the append: this and the few bytes after it make the server do it."""
        if message[:1] == b"P":
            name, statement, _ = message[HEADER_BYTES:].split(b"\0", 2)
            (self._append_names.add if b'."append"(' in statement else self._append_names.discard)(name)
        return message[:1] == b"B" and message[HEADER_BYTES:].split(b"\0", 2)[1] in self._append_names

    async def _pass_append(self, server: asyncio.StreamWriter, message: bytes) -> None:
        fault = self._relay.fault_of_next_append()
        if fault is Fault.UNSENT:
            self.cut()
        elif fault is Fault.HALF_SENT:
            await self._pass(server, message[: len(message) // 2])
            self.cut()
        elif fault is Fault.HELD_BEFORE:
            self.passes.clear()
        else:
            self._answer_fault = fault
        if fault and not self._answer_fault:
            self._relay.struck.set()
        await self._pass(server, message)

    async def _to_client(self) -> None:
        try:
            while True:
                message = await _message(self._server_reader)
                if self._answer_fault is None:
                    await self._pass(self._writer, message)
                    continue
                # The server says Z when the transaction is over: what it answered before that is not committed yet.
                answer = [message]
                while answer[-1][:1] != b"Z":
                    answer.append(await _message(self._server_reader))
                await self._spoil(b"".join(answer))
        finally:
            await self.passes.wait()  # during a cut nobody learns that the server hung up
            self._writer.close()

    async def _spoil(self, answer: bytes) -> None:
        fault, self._answer_fault = self._answer_fault, None
        if fault is Fault.HALF_ANSWERED:
            await self._pass(self._writer, answer[: len(answer) // 2])
        if fault is Fault.HELD_AFTER:
            self.passes.clear()
            self._relay.struck.set()
            await self._pass(self._writer, answer)
        else:
            self.cut()
            self._relay.struck.set()

    async def _pass(self, writer: asyncio.StreamWriter, message: bytes) -> None:
        await self.passes.wait()
        writer.write(message)
        await writer.drain()


class Relay:
    """Use it as a context: inside, `conninfo(direct)` leads through it.

    `struck` is set when a fault has happened; `appends` counts those that came by.
    """

    def __init__(self, folder: Path, direct: str) -> None:
        self.upstream = Path(str(conninfo_to_dict(direct)["host"])) / SOCKET_NAME
        self.folder = folder
        self.struck = threading.Event()
        self.appends = 0
        self._plan: dict[int, Fault] = {}
        self._lines: set[_Line] = set()
        self._is_cut = False
        self._ready, self._stopped = threading.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def conninfo(self, direct: str) -> str:
        return make_conninfo(direct, host=str(self.folder))

    def __enter__(self) -> "Relay":
        self._thread.start()
        assert self._ready.wait(THREAD_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.reset()
        self._call(self._stopped.set)
        self._thread.join(THREAD_TIMEOUT_S)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with await asyncio.start_unix_server(self._serve, self.folder / SOCKET_NAME):
            self._ready.set()
            await self._stopped.wait()

    def strike(self, fault: Fault, *, nth: int = 1) -> None:
        """Let the fault happen to the n-th append from now on."""
        self.struck.clear()
        self._plan[self.appends + nth] = fault

    def fault_of_next_append(self) -> Fault | None:
        self.appends += 1
        return self._plan.pop(self.appends, None)

    def cut(self) -> None:
        """From now on nothing passes, on no connection, and nobody is told: a cable is out."""
        self._call(self._let_pass, False)

    def heal(self) -> None:
        """What was held back passes, also what was sent by somebody who has hung up since."""
        self._call(self._let_pass, True)

    def reset(self) -> None:
        """All connections break; what was held back is lost. New ones work."""
        self._call(self._reset)

    def _let_pass(self, passes: bool) -> None:
        self._is_cut = not passes
        for line in self._lines:
            (line.passes.set if passes else line.passes.clear)()

    def _reset(self) -> None:
        for line in self._lines:
            line.cut()
        self._let_pass(True)

    def _call(self, act: Callable[..., None], *arguments: object) -> None:
        async def called() -> None:
            act(*arguments)

        asyncio.run_coroutine_threadsafe(called(), self._loop).result(THREAD_TIMEOUT_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(self, reader, writer)
        if not self._is_cut:
            line.passes.set()
        self._lines.add(line)
        try:
            await _until_lost(line.run())
        finally:
            self._lines.discard(line)
            writer.close()


async def _until_lost(work: Coroutine[Any, Any, None]) -> None:
    with suppress(*LOST):
        await work


def _length(header: bytes) -> int:
    return int(struct.unpack("!I", header[-LENGTH_BYTES:])[0])


async def _message(reader: asyncio.StreamReader) -> bytes:
    header = await reader.readexactly(HEADER_BYTES)
    return header + await reader.readexactly(_length(header) - LENGTH_BYTES)
