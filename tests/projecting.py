"""Read models of a town, folded in this process: as far as the log is, whenever a test says so."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import psycopg

from api.contexts import read_models
from domain.decider import Event
from infra.log.codec import Codec
from projections.engine.building import Building
from projections.engine.generations import Generations, Places
from projections.engine.projection import Projection
from projections.engine.runner import connect
from projections.engine.tail import Tail
from tests.towns import Town, Towns

_codec = Codec()


def decode(name: str, state: bytes) -> Event:
    return _codec.decode(name, state, {})


class Projector:
    """Folds what is new into the live generations."""

    def __init__(self, buildings: list[Building], tail: Tail, places: Places, connection: psycopg.Connection) -> None:
        self._buildings = buildings
        self._tail = tail
        self._places = places
        self._connection = connection

    def catch_up(self, *, look: bool = True) -> None:
        """Unless somebody has a `look` at the log for all of them, each does so for itself."""
        head = self._places.head(self._connection)
        behind = [building for building in self._buildings if building.position < head]
        if look and behind:  # most that is asked wrote nothing: one question is enough then
            self._tail.look(self._connection)
        for building in behind:
            while building.position < head and building.step():
                pass

    def start_anew(self) -> None:
        """Continue with the same town after it was emptied."""
        self._tail.end()
        self._tail.begin(self._connection)
        self._tail._last = 0  # it reads for all of them what was written meanwhile
        for building in self._buildings:
            building.follower.position = 0
            building._forget()
            building._parked.clear()


@contextmanager
def projector(town: Town, projections: Iterable[Projection] = read_models().values()) -> Iterator[Projector]:
    """One for these projections; they are begun if they were not."""
    places = Places(town.schema)
    with connect(town.application) as connection:
        generations = Generations(connection, places)
        lives = [(one, generations.live(one.name) or generations.begin(one, live=True)) for one in projections]
        tail = Tail(places)
        tail.begin(connection)
        buildings = [Building(connection, places, one, live, decode, tail=tail) for one, live in lives]
        yield Projector(buildings, tail, places, connection)


class LastProjector:
    """Projectors of towns, of which the last one stays open: most tests use the town of the test before."""

    def __init__(self) -> None:
        self._town: Town | None = None
        self._projector: Projector | None = None
        self._open = ExitStack()

    def of(self, town: Town) -> Projector:
        """One that has nothing yet. It may be used until the next is asked for."""
        if self._projector is None or town is not self._town:
            self.close()
            self._projector = self._open.enter_context(projector(town))
            self._town = town
        else:
            self._projector.start_anew()
        return self._projector

    def close(self) -> None:
        self._open.close()
        self._town = self._projector = None


class ProjectorOnDemand:
    """Folds into all read models of a town, from its first event on: many logs stay empty."""

    def __init__(self, town: Town, towns: Towns, last: LastProjector) -> None:
        self._town = town
        self._towns = towns
        self._last = last
        self._projector: Projector | None = None

    def catch_up(self) -> None:
        if self._projector is None:
            if self._towns.is_empty(self._town):
                return
            self._projector = self._last.of(self._town)
        try:
            self._projector.catch_up()
        except BaseException:
            self._last.close()  # it may have lost its place
            raise
