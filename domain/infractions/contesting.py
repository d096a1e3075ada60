"""Contesting an infraction within the term, and resolving the contest. Nobody resolves what they issued."""

from datetime import date, datetime, timedelta
from typing import Annotated

from domain.calendar import local_date
from domain.decider import Command, Decided
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import INFRACTION_NAME, NAME, OPAQUE, InfractionId, LoginId
from domain.infractions.infraction import (
    Infraction,
    InfractionContested,
    InfractionContestResolved,
    Outcome,
    allow,
    known,
    stream,
)


class ContestTermOver(
    Rejected,
    es="El plazo para impugnar esta infracción terminó el {last}.",
    en="The time to contest this infraction ended on {last}.",
):
    last: date


class ContestedBefore(
    Rejected,
    es="Esta infracción ya fue impugnada, y la impugnación se resolvió.",
    en="This infraction was contested before, and the contest was resolved.",
): ...


class ContestUnknown(
    Rejected,
    es="Esta infracción no fue impugnada.",
    en="This infraction was not contested.",
): ...


class ResolvedByIssuer(
    Rejected,
    es="Quien impuso la infracción no resuelve su impugnación: debe hacerlo otra persona.",
    en="Whoever issued the infraction does not resolve its contest: somebody else must.",
): ...


class ContestInfraction(Command):
    """An infraction is contested once. `statement` names the paper."""

    infraction: Annotated[InfractionId, INFRACTION_NAME]
    statement: Annotated[str, NAME]


@decides(ContestInfraction, reads=lambda c: (stream(c.infraction),))
def contest_infraction(command: ContestInfraction, state: Infraction, *, now: datetime) -> Decided:
    _, account = known(state, command.infraction)
    if state.contest and state.resolution is None and state.contest.statement == command.statement:
        return
    if state.resolution:
        raise ContestedBefore(path="infraction")
    allow(account, "CONTEST")
    today, last = local_date(now), account.notified_on + timedelta(days=account.terms.contest_days)
    if today > last:
        raise ContestTermOver(path="infraction", last=last)
    contested = InfractionContested(infraction=command.infraction, statement=command.statement, contested_on=today)
    yield stream(command.infraction), contested


class ResolveContest(Command):
    infraction: Annotated[InfractionId, INFRACTION_NAME]
    outcome: Outcome
    resolution: Annotated[str, NAME]
    norm: Annotated[str, NAME]
    resolved_by: Annotated[LoginId, OPAQUE]


@decides(ResolveContest, reads=lambda c: (stream(c.infraction),))
def resolve_contest(command: ResolveContest, state: Infraction, *, now: datetime) -> Decided:
    issued, account = known(state, command.infraction)
    if state.contest is None:
        raise ContestUnknown(path="infraction")
    before = state.resolution
    if before and (before.outcome, before.resolution) == (command.outcome, command.resolution):
        return
    allow(account, "UPHOLD" if command.outcome == "UPHELD" else "ANNUL")
    if command.resolved_by == issued.issued_by:
        raise ResolvedByIssuer(path="infraction")
    resolved = InfractionContestResolved(
        infraction=command.infraction,
        outcome=command.outcome,
        resolution=command.resolution,
        norm=command.norm,
        resolved_on=local_date(now),
        resolved_by=command.resolved_by,
    )
    yield stream(command.infraction), resolved
