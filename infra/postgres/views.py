"""Queries of read models, with the freshness of each answer; and waiting until they have reached a position."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Any, Protocol, TypeVar, cast

import msgspec
import psycopg
from psycopg import pq, sql

from infra.postgres.connections import Readers, Unavailable
from infra.postgres.prepared import PreparedPool, Statement

# One process can keep two backends busy. More of them compete for the same cores, so each answer takes longer: with
# four, the slowest of a hundred took 13 ms instead of 9.
CONNECTIONS_MAX = 2
REACH_POLL_S = 0.005
REACH_TIMEOUT_S = 3.0

BIGINT, DOUBLE = Struct("!q"), Struct("!d")  # as PostgreSQL sends them in binary format

T_co = TypeVar("T_co", covariant=True)


class Question(Protocol[T_co]):
    """`Query` of projections/engine/query.py."""

    @property
    def projections(self) -> tuple[str, ...]: ...
    @property
    def select(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def row(self) -> type[T_co]: ...


class Freshness(msgspec.Struct, frozen=True):
    """The state of a read model at a query: its last position, and its lag in events and seconds.

    The seconds say how long the first missing event has been in the log. For a query of several read models, these are
    the values of the one furthest behind.
    """

    position: int
    lag_events: int
    lag_s: float


class NotReached(Exception):
    """A read model did not reach a position in time."""

    def __init__(self, position: int, freshness: Freshness) -> None:
        super().__init__(f"at {freshness.position}, not at {position} yet")
        self.position = position
        self.freshness = freshness


class BeyondLog(Exception):
    """The log does not have this position."""


class NeverBuilt(Exception):
    """This projection was never built on this database, in this version and for this role."""


# The view does not exist, or is of another version, or belongs to another role.
NOT_THERE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InsufficientPrivilege,
)


class Views:
    """One municipality's read models, for reading. Open it in the event loop that uses it."""

    def __init__(self, conninfo: str, *, schema: str) -> None:
        self._views = f"{schema}_views"
        # All statements as bytes: psycopg would put composed ones together, and look for their parameters, each time.
        self._freshness = sql.Identifier(self._views, "freshness")
        self._select_freshness = (
            sql.SQL(
                "SELECT p.name, f.* FROM unnest(%(names)s::text[]) AS p (name)"
                " LEFT JOIN LATERAL {}(p.name) AS f ON true"
            )
            .format(self._freshness)
            .as_bytes()
        )
        self._select_reached = (
            sql.SQL("SELECT g.name, f.position, f.head FROM {} AS g CROSS JOIN LATERAL {}(g.name) AS f WHERE g.live")
            .format(sql.Identifier(self._views, "generations"), self._freshness)
            .as_bytes()
        )
        self._readers = PreparedPool(conninfo, connections_max=CONNECTIONS_MAX)
        self._watchers = Readers(conninfo, connections_max=1)  # so that slow answers do not look like a standstill
        self._statements: dict[str, Statement] = {}
        self._decoders: dict[type, msgspec.json.Decoder[Any]] = {}
        self._reached: dict[str, int] = {}  # positions that were seen: they never go back
        self._head = 0  # of the log, as seen with them
        self._asking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect. Raises Unavailable."""
        await self._readers.open()
        await self._watchers.open()

    async def close(self) -> None:
        await self._readers.close()
        await self._watchers.close()

    async def ask(self, question: Question[T_co], *, at_least: int = 0) -> tuple[list[T_co], Freshness]:
        """The answer and its freshness, from one snapshot, once the read models have reached `at_least`.

        Raises NotReached after REACH_TIMEOUT_S, BeyondLog, NeverBuilt, Unavailable.
        """
        if at_least:
            await self.reach(question.projections, at_least)
        try:
            result = await self._readers.execute(self._statement(question), question.parameters)
        except NOT_THERE:
            raise NeverBuilt from None
        freshness, found = _read(result)
        if freshness.position < at_least:
            raise NotReached(at_least, freshness)  # not seen so far: a switch never goes back
        decoder = self._decoders.get(question.row)
        if decoder is None:
            decoder = self._decoders[question.row] = msgspec.json.Decoder(list[question.row])  # type: ignore[name-defined]
        try:
            return decoder.decode(found), freshness
        except msgspec.ValidationError:  # it was made by another version
            raise NeverBuilt from None

    def _statement(self, question: Question[Any]) -> Statement:
        """One statement, so that rows and freshness are from one snapshot."""
        statement = self._statements.get(question.select)
        if statement is None:
            tables = {name: sql.Identifier(self._views, name) for name in question.projections}
            # Literal names: they are fixed for each question, and a parameter would have to be an array.
            each = [sql.SQL("SELECT * FROM {}({})").format(self._freshness, name) for name in question.projections]
            text = (
                sql.SQL(
                    "SELECT min(f.position), max(f.head), max(f.lag_s),"
                    " (SELECT coalesce(json_agg(found), '[]')::text FROM ({}) AS found) FROM ({}) AS f"
                )
                .format(sql.SQL(question.select).format(**tables), sql.SQL(" UNION ALL ").join(each))
                .as_string()
            )
            statement = self._statements[question.select] = Statement(text)
        return statement

    async def freshness(self, names: Iterable[str]) -> dict[str, Freshness | None]:
        """The freshness of each read model; None for one that was never built. Raises Unavailable."""
        rows = await self._watchers.rows(self._select_freshness, {"names": list(names)}, prepare=True)
        return {
            name: None if position is None else Freshness(position, max(head - position, 0), round(lag_s, 3))
            for name, position, head, lag_s in rows
        }

    async def reach(self, names: Iterable[str], position: int) -> None:
        """Return when these read models have the event at `position`.

        Raises NotReached after REACH_TIMEOUT_S, BeyondLog, NeverBuilt, Unavailable.
        """
        names = list(names)
        give_up_at_s = time.monotonic() + REACH_TIMEOUT_S
        looks = 0
        while any(self._reached.get(name, 0) < position for name in names):
            if time.monotonic() > give_up_at_s:
                behind = (await self.freshness(names)).values()
                if None in behind:
                    raise NeverBuilt
                raise NotReached(position, min((one for one in behind if one), key=lambda one: one.position))
            # However many callers wait, one of them sends the query.
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._look())
            asking = self._asking  # another caller starts the next one
            done, _ = await asyncio.wait({asking}, timeout=max(give_up_at_s - time.monotonic(), 0))
            if not done and looks == 0:
                raise Unavailable("the read models do not answer")
            if not done:
                continue
            asking.result()
            looks += 1
            if looks < 2:  # the first look may be older than the position
                continue
            if any(name not in self._reached for name in names):
                raise NeverBuilt
            if self._head < position:
                raise BeyondLog

    async def _look(self) -> None:
        for name, position, head in await self._watchers.rows(self._select_reached, prepare=True):
            self._reached[name] = position
            self._head = max(self._head, head)
        await asyncio.sleep(REACH_POLL_S)


def _read(result: pq.abc.PGresult) -> tuple[Freshness, bytes]:
    """Decode the columns of `Views._statement`: freshness, and rows as JSON. Raises NeverBuilt."""
    columns = [result.get_value(0, column) for column in range(4)]
    if None in columns:
        raise NeverBuilt
    place, end, lag, found = cast("list[bytes]", columns)
    ((position,), (head,), (lag_s,)) = BIGINT.unpack(place), BIGINT.unpack(end), DOUBLE.unpack(lag)
    return Freshness(position=position, lag_events=max(head - position, 0), lag_s=round(lag_s, 3)), found
