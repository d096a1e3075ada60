"""Issuing an infraction: the fine and the terms are those that are published for its day."""

from datetime import date, datetime
from typing import Annotated

from domain.calendar import local_date
from domain.decider import Command, Decided, Instant
from domain.decision import decides
from domain.errors import Hint, InvalidInput, Rejected
from domain.identifiers import (
    ADDRESS,
    INFRACTION_NAME,
    NAME,
    OPAQUE,
    PLATE,
    SLUG,
    InfractionHint,
    InfractionId,
    LoginId,
    parse_number,
    plate_of,
)
from domain.infractions import catalogue, wage
from domain.infractions import terms as terms_module
from domain.infractions.catalogue import InfractionCode, InfractionCodePublished, InfractionCodeUnknown, code_on
from domain.infractions.infraction import Fine, Infraction, InfractionIssued, fine_in_day_fines, stream
from domain.infractions.terms import InfractionTerms, InfractionTermsUnknown, PaymentTerms, terms_on
from domain.infractions.wage import MinimumWage, MinimumWageUnknown, wage_on


class InfractionInTheFuture(
    Rejected,
    es="Una infracción no puede haber ocurrido en el futuro: {at}.",
    en="An infraction can't have happened in the future: {at}.",
):
    at: datetime


class InfractionExists(
    Rejected,
    es="La infracción {infraction} ya está registrada con otros datos.",
    en="Infraction {infraction} is already issued with other details.",
):
    infraction: InfractionId


class NoticeHint(
    Hint,
    es="la notificación es del día de la infracción o de uno posterior, y no del futuro",
    en="the notice is given on the day of the infraction or later, and not in the future",
): ...


class IssueInfraction(Command):
    """`plate` in any spelling. `notified_on` is the day of the infraction unless it is given."""

    infraction: Annotated[InfractionId, INFRACTION_NAME]
    plate: Annotated[str, PLATE]
    code: Annotated[str, SLUG]
    place: Annotated[str, ADDRESS]
    district: Annotated[str, NAME]
    occurred_at: Instant
    guard: Annotated[str, SLUG]
    evidence: Annotated[str, NAME]
    issued_by: Annotated[LoginId, OPAQUE]
    notified_on: date | None = None


@decides(
    IssueInfraction,
    reads=lambda c: (stream(c.infraction), catalogue.stream(c.code), wage.stream(), terms_module.stream()),
)
def issue_infraction(
    command: IssueInfraction,
    state: Infraction,
    code: InfractionCode,
    wages: MinimumWage,
    published: InfractionTerms,
    *,
    now: datetime,
) -> Decided:
    plate, day = _plate(command), local_date(command.occurred_at)
    notified_on = command.notified_on or day
    if state.issued:
        if not _is_the_same(command, notified_on, state.issued):
            raise InfractionExists(path="infraction", infraction=command.infraction)
        return
    _check_times(command.occurred_at, notified_on, now)
    terms, meaning = terms_on(published, day), code_on(code, day)
    if meaning is None:
        raise InfractionCodeUnknown(path="code", infraction_code=command.code, day=day)
    if terms is None:
        raise InfractionTermsUnknown(path="occurred_at", day=day)
    issued = InfractionIssued(
        infraction=command.infraction,
        plate=plate,
        code=command.code,
        description=meaning.description,
        place=command.place,
        district=command.district,
        occurred_at=command.occurred_at,
        occurred_on=day,
        notified_on=notified_on,
        guard=command.guard,
        evidence=command.evidence,
        issued_by=command.issued_by,
        fine=_fine(meaning, wages, terms, day),
        terms=terms,
    )
    yield stream(command.infraction), issued


def _plate(command: IssueInfraction) -> str:
    """The plate in its one spelling. Raises InvalidInput if the id is not of this plate."""
    plate = parse_number("VEHICLE", command.plate, "plate")
    if plate_of(command.infraction) != plate:
        raise InvalidInput(path="infraction", hint=InfractionHint())
    return plate


def _check_times(occurred_at: datetime, notified_on: date, now: datetime) -> None:
    """Raises InfractionInTheFuture, or InvalidInput for a notice before the infraction or in the future."""
    if occurred_at > now:
        raise InfractionInTheFuture(path="occurred_at", at=occurred_at)
    if not local_date(occurred_at) <= notified_on <= local_date(now):
        raise InvalidInput(path="notified_on", hint=NoticeHint())


def _is_the_same(command: IssueInfraction, notified_on: date, issued: InfractionIssued) -> bool:
    """Whether just this was issued before, whatever was published since."""
    same = ("code", "place", "district", "occurred_at", "guard", "evidence")
    return issued.notified_on == notified_on and all(getattr(issued, one) == getattr(command, one) for one in same)


def _fine(meaning: InfractionCodePublished, wages: MinimumWage, terms: PaymentTerms, day: date) -> Fine:
    """The fine of a code on a day. Raises MinimumWageUnknown if it depends on a wage that is not published."""
    if meaning.day_fines is None:
        assert meaning.amount
        return Fine(norm=meaning.norm, amount=meaning.amount)
    found = wage_on(wages, day)
    if found is None:
        raise MinimumWageUnknown(path="occurred_at", day=day)
    return fine_in_day_fines(
        norm=meaning.norm,
        day_fines=meaning.day_fines,
        wage=found.amount,
        wage_norm=found.norm,
        day_fine_hundredths=terms.day_fine_hundredths,
        day_fine_norm=terms.norm,
    )
