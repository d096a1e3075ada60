"""Where people pay fines: what the public look-up says."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from domain.decider import Command, Decided, Event, State, Value, evolves, names_stream_of
from domain.decision import decides
from domain.identifiers import ADDRESS, NAME

STREAM_NAME = "infraction_payment_places/city"
PLACES_MAX = 50


class PaymentPlace(Value):
    """An office, a bank or a page."""

    name: str
    address: str


class InfractionPaymentPlacesPublished(Event, name="infraction_payment_places_published.v1"):
    """All the places, in the order in which they are shown; it replaces those of before."""

    places: list[PaymentPlace]


class InfractionPaymentPlaces(State):
    published: InfractionPaymentPlacesPublished | None = None


@names_stream_of(InfractionPaymentPlaces)
def stream() -> str:
    return STREAM_NAME


@evolves("infraction_payment_places", InfractionPaymentPlaces)
def evolve(state: InfractionPaymentPlaces, event: Event) -> InfractionPaymentPlaces:
    match event:
        case InfractionPaymentPlacesPublished():
            state.published = event
    return state


class PlaceTerms(Value, forbid_unknown_fields=True):
    """A place as a command gives it."""

    name: Annotated[str, NAME]
    address: Annotated[str, ADDRESS]


class PublishInfractionPaymentPlaces(Command):
    places: Annotated[list[PlaceTerms], Meta(max_length=PLACES_MAX)]


@decides(PublishInfractionPaymentPlaces, reads=lambda c: (stream(),))
def publish_infraction_payment_places(
    command: PublishInfractionPaymentPlaces, state: InfractionPaymentPlaces, *, now: datetime
) -> Decided:
    places = [PaymentPlace(name=one.name, address=one.address) for one in command.places]
    published = InfractionPaymentPlacesPublished(places=places)
    if state.published != published:
        yield stream(), published
