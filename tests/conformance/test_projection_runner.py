"""The library's own ProjectionRunner follows our log, through our polling subscription."""

from datetime import datetime
from typing import Any
from uuid import uuid4

from eventsourcing.application import Application
from eventsourcing.domain import BaseAggregate, CanInitAggregate, CanMutateAggregate, MetaDomainEvent, event
from eventsourcing.persistence import Tracking
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner

from tests.towns import Town


class DogEvent(CanMutateAggregate[str], metaclass=MetaDomainEvent):
    originator_id: str
    originator_version: int
    timestamp: datetime


class DogCreated(CanInitAggregate[str], DogEvent):
    originator_topic: str


class Dog(BaseAggregate[str]):
    """An aggregate with text ids, as the library would have it."""

    class Event(DogEvent):
        pass

    class Registered(DogCreated):
        pass

    @staticmethod
    def create_id() -> str:
        return f"dog/{uuid4()}"

    def __init__(self) -> None:
        self.tricks: list[str] = []

    @event("TrickAdded")
    def add_trick(self, trick: str) -> None:
        self.tricks.append(trick)


class Kennel(Application[str]):
    pass


class Seen(POPOTrackingRecorder):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def saw(self, name: str, tracking: Tracking) -> None:
        with self._database_lock:
            self._insert_tracking(tracking)
            self.names.append(name)


class Names(Projection[Seen]):
    name = "names"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.saw(type(domain_event).__name__, tracking)


def test_the_library_s_projection_runner_follows_our_log(town: Town) -> None:
    env = {
        "KENNEL_PERSISTENCE_MODULE": "eventsourcing.postgres",
        "NAMES_PERSISTENCE_MODULE": "eventsourcing.popo",
        "APPLICATION_RECORDER_TOPIC": "infra.log.recorder:LogRecorder",
        "ORIGINATOR_ID_TYPE": "text",
        "POSTGRES_DBNAME": "igob",
        "POSTGRES_HOST": str(town.application_parameters["host"]),
        "POSTGRES_USER": "igob_app",
        "POSTGRES_PASSWORD": "",
        "POSTGRES_SCHEMA": town.schema,
    }
    with ProjectionRunner(application_class=Kennel, projection_class=Names, view_class=Seen, env=env) as runner:
        dog = Dog()
        dog.add_trick("roll over")
        recordings = runner.app.save(dog)
        runner.wait(recordings[-1].notification.id, timeout=10)
        assert runner.projection.view.names == ["Registered", "TrickAdded"]
