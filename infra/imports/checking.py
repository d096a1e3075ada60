"""Checking a file against the log: what importing each row would do now. Nothing is written.

Rows are checked in blocks: what a block's rows read is loaded in one query, while the block before it is decided.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from domain.decider import Command, Recorded, StreamName, required_parties, unknown_party
from domain.decision import DECISIONS, decide
from domain.errors import Rejected
from domain.identifiers import category_of
from infra.imports.layout import FileRefused
from infra.imports.problems import Problem, problem_of
from infra.imports.report import Report
from infra.imports.table import Row, Table, parse
from infra.log.core import Core
from infra.log.log import Loaded

ROWS_AT_ONCE = 1_000
KEPT = frozenset({"hospital", "scales"})  # categories of few streams, which are loaded once for the whole file

T = TypeVar("T")
C = TypeVar("C")
R = TypeVar("R", bound=Report)

Found: TypeAlias = Mapping[StreamName, Loaded]
Wanted: TypeAlias = Row[Command] | Problem
Effect: TypeAlias = Literal["nothing", "adds", "replaces"]


class RowRefused(Exception):
    """A row may not do what it would do."""

    def __init__(self, column: str, code: str, text: str) -> None:
        super().__init__(text)
        self.column = column
        self.code = code


async def as_written(core: Core, rows: Sequence[Row[Any]]) -> Sequence[Wanted]:
    """Rows that are complete by themselves."""
    return rows


def replaces_stream(command: Any, recorded: Sequence[Recorded], found: Found) -> bool:
    """Whether a stream that the command writes has events already."""
    return any(found[stream].version for stream, _ in recorded)


def drop(line: int, command: Command) -> None:
    """Keep nothing of a checked row."""


class Import(msgspec.Struct, Generic[C, R], frozen=True):
    """A kind of import.

    Attributes:
        name: the subcommand of `igob import`.
        table: the form of its files.
        report: the class of its report.
        key_prefix: the first part of the idempotency keys for a file with this content; the line follows.
        resolve: the commands of some rows, in order, for tables whose rows alone do not tell them.
        replaces: whether a command changes what is there, given what it would record. Raises RowRefused.
        tells_repetitions: whether its report tells rows that this very file imported before from others that are there.
    """

    name: str
    table: Table[C]
    report: type[R]
    key_prefix: Callable[[bytes], str]
    resolve: Callable[[Core, Sequence[Row[C]]], Awaitable[Sequence[Wanted]]] = as_written
    replaces: Callable[[Any, Sequence[Recorded], Found], bool] = replaces_stream
    tells_repetitions: bool = False


class Checked(NamedTuple):
    """A checked file: how many rows it has, and the lines of those that replace something."""

    rows: int
    replacing: set[int]


class Block(NamedTuple):
    """Some rows that follow each other, and all that their commands read."""

    rows: list[Wanted]
    found: Found


async def check(
    core: Core,
    content: bytes,
    kind: Import[C, R],
    *,
    now: datetime,
    advance: Callable[[int], None] = lambda _: None,
    keep: Callable[[int, Command], None] = drop,
) -> tuple[Checked, R]:
    """What importing the file would do now, and a report of it with the rows that would be refused.

    Calls `keep` with the line and the command of each row that is to be imported: the log has the others. Writes
    nothing. Raises FileRefused.
    """
    report = kind.report()
    count, replacing = 0, set[int]()
    async for block in _blocks(core, content, kind):
        states = {name: loaded.state for name, loaded in block.found.items()}
        for row in block.rows:
            if isinstance(row, Problem):
                report.blame(row)
                continue
            effect = _effect(row, states, block.found, kind, now)
            if isinstance(effect, Problem):
                report.blame(effect)
                continue
            if effect == "nothing":
                report.count_there(replayed=False)
            else:
                report.count(existed=effect == "replaces")
            if effect == "replaces":
                replacing.add(row.line)
            if effect != "nothing" or kind.tells_repetitions:
                keep(row.line, row.command)
        count += len(block.rows)
        advance(len(block.rows))
    if not count:
        raise FileRefused("has a header, but no rows")
    return Checked(count, replacing), report


def _effect(
    row: Row[Command], states: Mapping[StreamName, Any], found: Found, kind: Import[Any, Any], now: datetime
) -> Effect | Problem:
    """What the domain would decide now, or the problem of the row.

    Rows that were imported before are not refused, whatever the day: a killed run can be completed later.
    """
    command = row.command
    try:
        for field, party in required_parties(command).items():
            if not states[party].known:
                raise unknown_party(party)(path=field)
        recorded = decide(command, states, now)
        if not recorded:
            return "nothing"
        return "replaces" if kind.replaces(command, recorded, found) else "adds"
    except Rejected as refusal:
        return problem_of(row.line, refusal)
    except RowRefused as refused:
        return Problem(row.line, refused.column, refused.code, str(refused))


async def _blocks(core: Core, content: bytes, kind: Import[C, R]) -> AsyncIterator[Block]:
    """The file in blocks. The next one is being loaded while a block is in use. Raises FileRefused."""
    known: dict[StreamName, Loaded] = {}
    chunks = chunked(_once(content, kind.table), ROWS_AT_ONCE)

    def begin() -> "asyncio.Task[Block] | None":
        rows = next(chunks, None)
        return asyncio.create_task(_block(core, rows, kind, known)) if rows else None

    ahead = begin()
    try:
        while ahead:
            block = await ahead
            known |= {name: one for name, one in block.found.items() if category_of(name) in KEPT}
            ahead = begin()
            await asyncio.sleep(0)  # it sends its query
            yield block
    finally:
        if ahead:
            ahead.cancel()


def _once(content: bytes, table: Table[C]) -> Iterator[Row[C] | Problem]:
    """The rows, with a problem in place of each whose thing is in the file before."""
    line_of: dict[str, int] = {}
    for row in parse(content, table):
        yield row if isinstance(row, Problem) else _doubled(row, table, line_of) or row


def _doubled(row: Row[C], table: Table[C], line_of: dict[str, int]) -> Problem | None:
    for thing in (table.thing(row.command), table.also(row.command)):
        first = line_of.setdefault(thing, row.line) if thing else row.line
        if first != row.line:
            return Problem(row.line, "", "doubled", f"{thing} is on line {first} too")
    return None


async def _block(core: Core, rows: list[Row[C] | Problem], kind: Import[C, R], known: Found) -> Block:
    resolved = iter(await kind.resolve(core, [row for row in rows if isinstance(row, Row)]))
    wanted = [row if isinstance(row, Problem) else next(resolved) for row in rows]
    return Block(wanted, await _load(core, [row.command for row in wanted if isinstance(row, Row)], known))


async def _load(core: Core, commands: Sequence[Command], known: Found) -> dict[StreamName, Loaded]:
    """All streams that these commands read, and the parties that they need, without personal data."""
    found = dict(known)
    parties = {party for command in commands for party in required_parties(command).values()}
    missing: set[StreamName] = set(parties)
    while True:
        states = {name: loaded.state for name, loaded in found.items()}
        for command in commands:
            missing.update(DECISIONS[type(command)].streams(command, states))
        missing -= found.keys()
        if not missing:
            return found
        found |= await core.log.load(missing, redacted=parties)
        if not any(DECISIONS[kind].asks_again for kind in {type(command) for command in commands}):
            return found


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of this size; the last one may be shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
