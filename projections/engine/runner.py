"""Runs the read models. Each has its own position in the log, and only one runner folds it at a time.

A second runner waits until the first has gone. When a version is raised, or on request, a table is rebuilt beside the
old one, which is read until the new one has caught up.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from heapq import merge
from itertools import groupby

import msgspec
import psycopg
from psycopg import sql

from projections.engine.building import Building, Overtaken
from projections.engine.generations import Generation, Generations, Places
from projections.engine.projection import Decode, Projection
from projections.engine.tail import LOOK_ANYWAY_S, POLL_S, Ended, Tail

BEHIND_EVENTS = 2_500  # a full page: there is more to read
STANDBY_POLL_S = 0.5  # how often to try to take over from a runner that has gone
RETRY_S = 1.0
END_OF_LOG = "the end of the log"  # its name in messages about failures
SWITCH_RETRY_S = 0.2
SWITCH_TRIES_MAX = 50
COMPARED_AT_ONCE = 2_000
EXAMPLES_MAX = 10
LOCK_SPACE = 1608  # first half of the advisory lock's key; the second is that of the name

CONNECT_TIMEOUT_S = 10
NETWORK_TIMEOUT_S = 30  # a dead connection must not keep its lock, nor block this process
IDLE_IN_PAGE_TIMEOUT_S = 60  # for a process frozen in the middle of a page; longer than any page takes

CONNECTION = {
    "autocommit": True,
    "connect_timeout": CONNECT_TIMEOUT_S,
    "tcp_user_timeout": NETWORK_TIMEOUT_S * 1_000,
    "keepalives_idle": NETWORK_TIMEOUT_S // 3,
    "keepalives_interval": NETWORK_TIMEOUT_S // 6,
    "keepalives_count": 4,
    # What is lost in a crash is folded again: no need to wait for the disk.
    "options": "-c synchronous_commit=off -c default_transaction_isolation=read\\ committed"
    f" -c idle_in_transaction_session_timeout={IDLE_IN_PAGE_TIMEOUT_S}s"
    # Rows are looked up by key, whatever the statistics say: a plan made while the table was small would read all of
    # it for each page, until it is analyzed.
    " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
    " -c jit=off",  # no statement is worth compiling
}

Say = Callable[[str], None]
Work = Callable[[psycopg.Connection], None]  # runs until it is stopped


class TooOld(Exception):
    """A newer version of the program maintains this projection."""


class Busy(Exception):
    """Another process is already rebuilding or verifying this projection."""


def connect(conninfo: str) -> psycopg.Connection:
    return psycopg.connect(conninfo, **CONNECTION)  # type: ignore[arg-type]


def _try_lock(connection: psycopg.Connection, what: str) -> bool:
    """Try to take an advisory lock, which ends with the connection."""
    ((had,),) = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", (LOCK_SPACE, what)).fetchall()
    return bool(had)


@contextmanager
def _alone(connection: psycopg.Connection, what: str) -> Iterator[None]:
    if not _try_lock(connection, what):
        raise Busy(f"somebody else is {what} already")
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", (LOCK_SPACE, what))


class Runner:
    """Keeps these projections up to date until it is stopped.

    One thread for each, and one that looks for new events for all: a query by each, fifty times a second, would take a
    sixth of a core in an idle city, and more with every read model.
    """

    def __init__(
        self, conninfo: str, *, schema: str, decode: Decode, projections: Iterable[Projection], say: Say
    ) -> None:
        self._conninfo = conninfo
        self._places = Places(schema)
        self._decode = decode
        self._projections = list(projections)
        self._say = say
        self._tail = Tail(self._places)
        self._followed = threading.Event()  # a runner holds a projection; before that, nobody needs the tail
        self._stop = threading.Event()
        self._reported: set[str] = set()  # failures that were already reported

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        reading = threading.Thread(target=self._always, args=(END_OF_LOG, self._read_tail), daemon=True)
        threads = [
            threading.Thread(target=self._always, args=(_called(one), partial(self._follow, one)), daemon=True)
            for one in self._projections
        ]
        for thread in (reading, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        reading.join(LOOK_ANYWAY_S)  # a thread that hangs in a query has nothing to finish

    def _always(self, name: str, work: Work) -> None:
        """Repeat the work until stopped. After a failure try again; other threads are not affected."""
        while not self._stop.is_set():
            try:
                with connect(self._conninfo) as connection:
                    work(connection)
            except (Overtaken, Ended):
                self._stop.wait(POLL_S)  # there is a new generation or connection now
            except Exception as error:
                if isinstance(error, psycopg.OperationalError):
                    self._tail.end()
                if name not in self._reported:  # report a lasting failure once
                    self._say(f"{name}: {type(error).__name__}: {error}")
                self._reported.add(name)
                self._stop.wait(RETRY_S)

    def _read_tail(self, connection: psycopg.Connection) -> None:
        while not self._followed.wait(STANDBY_POLL_S):
            if self._stop.is_set():
                return
        self._tail.begin(connection)
        try:
            while not self._stop.wait(POLL_S) and not self._stop.wait(self._tail.next_look_in_s()):
                while self._tail.look(connection) >= BEHIND_EVENTS and not self._stop.is_set():
                    pass
                self._reported.discard(END_OF_LOG)
        finally:
            self._tail.end()

    def _follow(self, projection: Projection, connection: psycopg.Connection) -> None:
        while not _try_lock(connection, f"{self._places.schema} {projection.name}"):
            if self._stop.wait(STANDBY_POLL_S):
                return
        generations = Generations(connection, self._places)
        live = generations.live(projection.name)
        if live and not generations.has_table(live):
            now_live = generations.live(projection.name)
            if now_live and now_live.generation != live.generation:
                raise Overtaken(f"generation {live.generation} was replaced just now")
            generations.forget(live)  # somebody dropped it, so make it again
            live = None
        live = live or generations.begin(projection, live=True)
        if live.version > projection.version:
            raise TooOld(f"version {live.version} is live already: this program has {projection.version}")
        if live.version < projection.version:
            self._say(f"projection {projection.name}: version {projection.version} is being built")
            live = rebuild(self._conninfo, self._places, projection, self._decode, stop=self._stop) or live
            if live.version != projection.version:
                return  # stopped
        building = Building(connection, self._places, projection, live, self._decode, tail=self._tail)
        self._followed.set()
        while not self._stop.is_set():
            try:
                folded = building.step()
            except psycopg.errors.UndefinedTable as error:
                raise Overtaken(str(error)) from error  # another is live now, or this one was dropped: look again
            self._reported.discard(_called(projection))  # it works again, so report the next failure
            if not folded:
                self._stop.wait(POLL_S)  # whatever the tail has, nothing is new for this one
            if folded < BEHIND_EVENTS:
                self._tail.wait(building.position, self._stop, building.follower)


def _called(projection: Projection) -> str:
    return f"projection {projection.name}"


def rebuild(
    conninfo: str,
    places: Places,
    projection: Projection,
    decode: Decode,
    *,
    advance: Callable[[int], None] = lambda position: None,
    stop: threading.Event | None = None,
) -> Generation | None:
    """Rebuild a projection's table from the first event beside the live one; then switch, and drop the old ones.

    An interrupted rebuild is continued. Queries read the old table until the switch, and the live one is kept up to
    date meanwhile. Returns the generation that is live now; None if it was stopped. Raises Busy,
    psycopg.errors.LockNotAvailable if queries hold the old table for too long.
    """
    stop = stop or threading.Event()
    with connect(conninfo) as connection, _alone(connection, _building(places, projection)):
        generations = Generations(connection, places)
        new = _begun(generations, projection)
        building = Building(connection, places, projection, new, decode)
        analyzed = False
        while not stop.is_set():
            if building.step():
                advance(building.position)
            elif not analyzed:
                generations.analyze(new)
                analyzed = True
            elif _switched(generations, new, stop):
                for other in generations.all(projection.name):
                    if not other.live:
                        generations.drop(other)
                return generations.live(projection.name)
    return None


def _switched(generations: Generations, new: Generation, stop: threading.Event) -> bool:
    """Switch, unless the live generation has got ahead meanwhile. Returns whether it did."""
    for _ in range(SWITCH_TRIES_MAX):
        with suppress(psycopg.errors.LockNotAvailable):
            return generations.switch(new)
        if stop.wait(SWITCH_RETRY_S):
            return False
    return generations.switch(new)


def _building(places: Places, projection: Projection) -> str:
    return f"building {places.schema} {projection.name}"


def _begun(generations: Generations, projection: Projection) -> Generation:
    """A generation to build: one newer than the live one if it has this version, else a new one. Drops others."""
    known = generations.all(projection.name)
    live = next((one.generation for one in known if one.live), 0)
    newest = known[-1] if known else None
    # One older than the live one was live itself: a rebuild was interrupted after its switch.
    cut_short = newest and newest.generation > live and newest.version == projection.version
    for other in known:
        if not other.live and not (cut_short and other is newest):
            generations.drop(other)
    return newest if newest and cut_short else generations.begin(projection, live=False)


class Compared(msgspec.Struct, frozen=True):
    """The result of `verify`: how many rows differ or are in one table only, with the first keys as examples."""

    name: str
    position: int
    rows: int
    different: int
    examples: list[str]

    def __str__(self) -> str:
        if not self.different:
            return f"{self.name}: {self.rows} rows at position {self.position}, all as made anew"
        examples = ", ".join(self.examples)
        return f"{self.name}: {self.different} of {self.rows} rows differ at position {self.position}: {examples} …"


def verify(
    conninfo: str,
    places: Places,
    projection: Projection,
    decode: Decode,
    *,
    advance: Callable[[int], None] = lambda position: None,
) -> Compared:
    """Rebuild a projection's table up to the position of the live one, and compare the two row by row.

    It blocks neither queries nor the runner: the live table is read from one snapshot. Raises Busy, and
    LookupError if there is no live table.
    """
    with connect(conninfo) as own, connect(conninfo) as other, _alone(own, _building(places, projection)):
        generations = Generations(own, places)
        for left_over in generations.all(projection.name):
            if not left_over.live:
                generations.drop(left_over)
        shadow = generations.begin(projection, live=False)
        try:
            building = Building(own, places, projection, shadow, decode)
            while building.step(until=_live(generations, projection).position):
                advance(building.position)
            with other.transaction():
                other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                live = _live(Generations(other, places), projection)
                while building.step(until=live.position):
                    advance(building.position)
                with own.transaction():
                    as_lived = _rows(other, places, projection, live)
                    anew = _rows(own, places, projection, shadow)
                    return _compared(projection, live.position, as_lived, anew)
        finally:
            generations.drop(shadow)


def _live(generations: Generations, projection: Projection) -> Generation:
    live = generations.live(projection.name)
    if live is None:
        raise LookupError(f"projection {projection.name} was never built: run igob projections run")
    return live


def _rows(
    connection: psycopg.Connection, places: Places, projection: Projection, generation: Generation
) -> Iterator[tuple[str, str]]:
    """Each row as its key and its JSON, in order of the key."""
    with connection.cursor(name="rows") as cursor:
        cursor.itersize = COMPARED_AT_ONCE
        yield from cursor.execute(
            sql.SQL("SELECT {key}, row_to_json(r)::text FROM {table} AS r ORDER BY {key}").format(
                key=sql.Identifier(projection.key), table=places.table(generation)
            )
        )


def _compared(
    projection: Projection, position: int, live: Iterator[tuple[str, str]], anew: Iterator[tuple[str, str]]
) -> Compared:
    rows = different = 0
    examples: list[str] = []
    for key, of_key in groupby(merge(live, anew), key=lambda row: row[0]):
        rows += 1
        found = [text for _, text in of_key]
        if len(found) != 2 or found[0] != found[1]:
            different += 1
            if len(examples) < EXAMPLES_MAX:
                examples.append(key)
    return Compared(name=projection.name, position=position, rows=rows, different=different, examples=examples)


class Status(msgspec.Struct, frozen=True):
    """The state of a projection's live generation. Only the name if it was never built.

    `building`: the position of a generation that is being rebuilt.
    """

    name: str
    version: int | None
    position: int | None
    lag_events: int | None
    lag_s: float | None
    parked: int
    building: int | None


def statuses(connection: psycopg.Connection, places: Places, projections: Iterable[Projection]) -> list[Status]:
    """The status of each projection."""
    generations = Generations(connection, places)
    found = []
    for projection in projections:
        known = generations.all(projection.name)
        live = next((one for one in known if one.live), None)
        freshness = connection.execute(
            sql.SQL('SELECT "position", head, lag_s FROM {}(%s)').format(places.freshness), (projection.name,)
        ).fetchone()
        position, head, lag_s = freshness or (None, 0, None)
        found.append(
            Status(
                name=projection.name,
                version=live.version if live else None,
                position=position,
                lag_events=None if position is None else head - position,
                lag_s=lag_s,
                parked=len(generations.parked(live)) if live else 0,
                building=next((one.position for one in reversed(known) if not one.live), None),
            )
        )
    return found
