"""Organisations: registered by clerks or officers, corrected by officers. A NIT belongs to one organisation at a time.

Sole traders are not organisations: they are persons, and their NIT begins with their identity number. So the NIT is a
personal field here: if one is registered by mistake, the log does not have it in plain text.
"""

from datetime import datetime
from typing import Annotated

from msgspec.structs import asdict, replace

from domain.decider import Command, Decided, Event, Personal, State, Stream, evolves, names_stream_of
from domain.decision import decides
from domain.errors import InvalidInput, OrganisationUnknown, Rejected
from domain.identifiers import (
    DIGEST,
    NAME,
    NIT,
    ORGANISATION,
    NitDigest,
    NitHint,
    OrganisationId,
    SubjectId,
    organisation_stream,
)

CORRECTIONS_PER_ORGANISATION_MAX = 100  # the stream is for life and must stay short


class _OrganisationDetails(Event, subject="organisation"):
    """All data about an organisation. Its name is public."""

    organisation: OrganisationId
    nit_digest: NitDigest
    nit: Personal[str]
    name: str


class OrganisationRegistered(_OrganisationDetails, name="organisation_registered.v1", subject="organisation"):
    pass


class OrganisationCorrected(_OrganisationDetails, name="organisation_corrected.v1", subject="organisation"):
    """All data again, after a correction."""


class RepresentativeListed(Event, name="representative_listed.v1"):
    """Somebody was confirmed as the organisation's representative for the first time."""

    organisation: OrganisationId
    representative: SubjectId


class Organisation(State):
    """`representatives`: everybody who ever was one, by first confirmation. Each one's own stream tells until when."""

    registered: OrganisationRegistered | None = None
    corrections: int = 0
    representatives: list[SubjectId] = []

    @property
    def known(self) -> bool:
        return self.registered is not None


@names_stream_of(Organisation)
def stream(organisation: OrganisationId) -> str:
    return organisation_stream(organisation)


@evolves("organisation", Organisation)
def evolve(organisation: Organisation, event: Event) -> Organisation:
    match event:
        case OrganisationRegistered():
            organisation.registered = event
        case OrganisationCorrected():
            organisation.registered = OrganisationRegistered(**asdict(event))
            organisation.corrections += 1
        case RepresentativeListed():
            organisation.representatives.append(event.representative)
    return organisation


class NitClaimed(Event, name="nit_claimed.v1"):
    organisation: OrganisationId


class NitReleased(Event, name="nit_released.v1"):
    organisation: OrganisationId


class Nit(State):
    """The organisation that has a NIT. While it does, no other can."""

    organisation: OrganisationId | None = None


@names_stream_of(Nit)
def nit_stream(digest: NitDigest) -> str:
    return f"nit/{digest}"


@evolves("nit", Nit)
def evolve_nit(nit: Nit, event: Event) -> Nit:
    match event:
        case NitClaimed():
            nit.organisation = event.organisation
        case NitReleased():
            nit.organisation = None
    return nit


class NitTaken(
    Rejected,
    es="Ya hay una organización registrada con ese NIT.",
    en="An organisation is already registered under that NIT.",
): ...


class RegisterOrganisation(Command):
    organisation: Annotated[OrganisationId, ORGANISATION]
    nit: Annotated[str, NIT]
    nit_digest: Annotated[NitDigest, DIGEST]
    name: Annotated[str, NAME]


@decides(RegisterOrganisation, reads=lambda c: (stream(c.organisation), nit_stream(c.nit_digest)))
def register_organisation(
    command: RegisterOrganisation, organisation: Organisation, nit: Nit, *, now: datetime
) -> Decided:
    if organisation.registered:
        return
    if nit.organisation:
        raise NitTaken(path="nit")
    yield nit_stream(command.nit_digest), NitClaimed(organisation=command.organisation)
    yield stream(command.organisation), OrganisationRegistered(**asdict(command))


class TooManyOrganisationCorrections(
    Rejected,
    es="Los datos de una organización se pueden corregir {limit} veces como máximo.",
    en="An organisation's data can be corrected at most {limit} times.",
):
    limit: int


class CorrectOrganisation(Command):
    """The fields to change; None leaves a field as it is. `nit` and its digest are given together."""

    organisation: Annotated[OrganisationId, ORGANISATION]
    nit: Annotated[str, NIT] | None = None
    nit_digest: Annotated[NitDigest, DIGEST] | None = None
    name: Annotated[str, NAME] | None = None


def _nits(command: CorrectOrganisation, organisation: Organisation) -> tuple[Stream[Nit] | None, Stream[Nit] | None]:
    """The streams of the new NIT, if one is given, and of the present one."""
    if command.nit_digest is None:
        return None, None
    known = organisation.registered
    return nit_stream(command.nit_digest), nit_stream(known.nit_digest) if known else None


@decides(CorrectOrganisation, reads=lambda c: (stream(c.organisation),), then=_nits)
def correct_organisation(
    command: CorrectOrganisation,
    organisation: Organisation,
    wanted: Nit | None = None,
    borne: Nit | None = None,
    *,
    now: datetime,
) -> Decided:
    known = organisation.registered
    if known is None:
        raise OrganisationUnknown(path="organisation")
    if (command.nit is None) != (command.nit_digest is None):
        raise InvalidInput(path="nit", hint=NitHint())
    if wanted and wanted.organisation not in (None, command.organisation):
        raise NitTaken(path="nit")
    corrected = replace(known, **{field: value for field, value in asdict(command).items() if value is not None})
    if corrected == known:
        return
    if organisation.corrections >= CORRECTIONS_PER_ORGANISATION_MAX:
        raise TooManyOrganisationCorrections(path="organisation", limit=CORRECTIONS_PER_ORGANISATION_MAX)
    if corrected.nit_digest != known.nit_digest:
        yield nit_stream(corrected.nit_digest), NitClaimed(organisation=command.organisation)
        if borne and borne.organisation == command.organisation:
            yield nit_stream(known.nit_digest), NitReleased(organisation=command.organisation)
    yield stream(command.organisation), OrganisationCorrected(**asdict(corrected))
