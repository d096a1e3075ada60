"""Read models of a town, folded in this process: as far as the log is, whenever a test says so."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

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

    def __init__(self, buildings: list[Building], look: Callable[[], int], head: Callable[[], int]) -> None:
        self._buildings = buildings
        self._look = look
        self._head = head

    def catch_up(self, *, look: bool = True) -> None:
        """Unless somebody has a `look` at the log for all of them, each does so for itself."""
        head = self._head()
        behind = [building for building in self._buildings if building.position < head]
        if look and behind:  # most that is asked wrote nothing: one question is enough then
            self._look()
        for building in behind:
            while building.position < head and building.step():
                pass


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
        yield Projector(buildings, partial(tail.look, connection), partial(places.head, connection))


class ProjectorOnDemand:
    """Folds into all read models of a town, which connects when the log has its first event: many logs stay empty."""

    def __init__(self, town: Town, towns: Towns) -> None:
        self._town = town
        self._towns = towns
        self._open = ExitStack()
        self._projector: Projector | None = None

    def catch_up(self) -> None:
        if self._projector is None:
            if self._towns.is_empty(self._town):
                return
            self._projector = self._open.enter_context(projector(self._town))
        self._projector.catch_up()

    def close(self) -> None:
        self._open.close()
