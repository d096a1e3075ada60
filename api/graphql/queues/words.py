"""The enums of lines and turns: the words of their commands and states."""

from enum import Enum

import strawberry

from api.graphql.commands import words_of
from domain.queues import calling, line, policy, turns


@words_of(policy.Priority)
@strawberry.enum(description="The class of a turn. The line's policy orders the classes.")
class Priority(Enum):
    PREFERENTIAL = strawberry.enum_value(
        "PREFERENTIAL", description="People who are 60 or older, pregnant, disabled, or carrying an infant: P-003."
    )
    APPOINTMENT = strawberry.enum_value("APPOINTMENT", description="People with an appointment (ficha) today: F-002.")
    NORMAL = strawberry.enum_value("NORMAL", description="Everybody else: A-017.")


@words_of(line.TurnState)
@strawberry.enum(description="The state of a turn.")
class TurnState(Enum):
    WAITING = strawberry.enum_value("WAITING", description="It waits.")
    CALLED = strawberry.enum_value("CALLED", description="A counter called it: come now.")
    SERVING = strawberry.enum_value("SERVING", description="It is being served.")
    SERVED = strawberry.enum_value("SERVED", description="It was served.")
    ABSENT = strawberry.enum_value("ABSENT", description="It was called and nobody came: see `backUntil`.")
    LEFT = strawberry.enum_value("LEFT", description="It was given up.")
    TRANSFERRED = strawberry.enum_value("TRANSFERRED", description="It was moved to another line: see `movedTo`.")
    UNSERVED = strawberry.enum_value("UNSERVED", description="The line closed before it was called.")


@words_of(turns.Channel)
@strawberry.enum(description="Where a turn was taken.")
class TurnChannel(Enum):
    WEB = strawberry.enum_value("WEB", description="On a web page or in an app.")
    KIOSK = strawberry.enum_value("KIOSK", description="At a ticket machine of the office.")
    COUNTER = strawberry.enum_value("COUNTER", description="At a counter, by a clerk.")


@words_of(turns.Reason)
@strawberry.enum(description="The reason for a preferential turn.")
class PreferenceReason(Enum):
    AGE = strawberry.enum_value("AGE", description="60 years or older. For a registered person, the age is looked up.")
    PREGNANT = strawberry.enum_value("PREGNANT", description="Pregnant.")
    DISABILITY = strawberry.enum_value("DISABILITY", description="With a disability.")
    INFANT = strawberry.enum_value("INFANT", description="Carrying an infant.")


@words_of(calling.Outcome)
@strawberry.enum(description="The outcome of a service.")
class ServiceOutcome(Enum):
    DONE = strawberry.enum_value("DONE", description="The matter is settled.")
    INCOMPLETE = strawberry.enum_value("INCOMPLETE", description="Something was missing, such as a document.")
    REFERRED = strawberry.enum_value("REFERRED", description="The person was referred elsewhere.")
