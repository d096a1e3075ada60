"""Infractions in the schema: what everybody sees of them by plate, what officers see, and issuing them."""

from datetime import date as Date
from typing import Annotated

import strawberry

from api.graphql.access import EVERYBODY
from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.fields import AtLeast, Info, Node, node_query, query
from api.graphql.infractions.access import GUARDS, OFFICERS
from api.graphql.infractions.debts import InfractionDebt, InfractionFine, debt_to_graphql, fine_to_graphql
from api.graphql.infractions.published import InfractionTerms, day_or_today, terms_to_graphql
from api.graphql.infractions.words import InfractionContestOutcome, InfractionState
from api.graphql.links import LinkTo
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.read_models import BEHIND
from api.graphql.scalars import Instant, Money, money_to_graphql
from domain.identifiers import INFRACTION_NAME, PLATE, parse_number
from domain.infractions import infraction as domain
from domain.infractions.issuing import IssueInfraction
from projections.infractions import infractions as views


@strawberry.type(description="What everybody may see of an infraction: not the guard, the evidence or the receipts.")
class PublicInfraction:
    number: str = strawberry.field(description="The id of the infraction, to be quoted with a payment or a statement.")
    plate: str = strawberry.field(description="The plate of the vehicle: 1234ABC.")
    code: str = strawberry.field(description="The code of the catalogue: t-12.")
    description: str = strawberry.field(description="What the code meant on the day of the infraction, in Spanish.")
    place: str = strawberry.field(description="Where it happened.")
    district: str = strawberry.field(description="The macrodistrict.")
    occurred_at: Instant = strawberry.field(description="When it happened.")
    state: InfractionState = strawberry.field(description="Its state.")
    notified_on: Date = strawberry.field(description="The day of the notice, from which days are counted.")
    fine: InfractionFine = strawberry.field(description="The fine as it was fixed, without discount and penalty.")
    terms: InfractionTerms = strawberry.field(description="The terms of payment of the day of the infraction.")
    account: strawberry.Private[domain.Account]

    @strawberry.field(description="What is owed on a day, past or future; null before the day of the infraction.")
    def debt(
        self,
        info: Info,
        as_of: Annotated[Date | None, strawberry.argument(description="A day in La Paz; default: today.")] = None,
    ) -> InfractionDebt | None:
        return debt_to_graphql(self.account, day_or_today(as_of, info))


def _public(
    infraction: str, of: domain.InfractionIssued | views.InfractionRow, account: domain.Account
) -> PublicInfraction:
    return PublicInfraction(
        number=infraction,
        plate=of.plate,
        code=of.code,
        description=of.description,
        place=of.place,
        district=of.district,
        occurred_at=Instant(of.occurred_at),
        state=InfractionState[account.status],
        notified_on=account.notified_on,
        fine=fine_to_graphql(account.fine),
        terms=terms_to_graphql(account.terms),
        account=account,
    )


def from_row(row: views.InfractionRow) -> PublicInfraction:
    """What everybody may see of a row of the read model."""
    return _public(row.infraction, row, row.account)


@strawberry.type(description="The contest of an infraction.")
class InfractionContest:
    statement: str = strawberry.field(description="The paper in which it was contested.")
    contested_on: Date = strawberry.field(description="The day.")
    outcome: InfractionContestOutcome | None = strawberry.field(description="The outcome; null until it is resolved.")
    resolution: str | None = strawberry.field(description="The resolution.")
    norm: str | None = strawberry.field(description="The norm on which it is based.")
    resolved_on: Date | None = strawberry.field(description="The day of the resolution.")


@strawberry.type(description="A payment of an infraction.")
class InfractionReceipt:
    reference: str = strawberry.field(description="The number of the receipt.")
    amount: Money = strawberry.field(description="The amount.")
    paid_on: Date = strawberry.field(description="The day of the payment.")


@strawberry.type(description="The order by which an infraction was sent to collection.")
class InfractionCollection:
    document: str = strawberry.field(description="The order.")
    sent_on: Date = strawberry.field(description="The day.")


@strawberry.type(description="An infraction as officers see it. Nobody's name is stored with it.")
class Infraction(Node):
    id: strawberry.ID = strawberry.field(description="The plate, then an opaque part.")
    public: PublicInfraction = strawberry.field(description="What everybody may see of it.")
    guard: str = strawberry.field(description="The code of the guard.")
    evidence: str = strawberry.field(description="Where photographs and papers are kept.")
    contest: InfractionContest | None = strawberry.field(description="The contest; null if there was none.")
    receipts: list[InfractionReceipt] = strawberry.field(
        description="The payments that count, in the order in which they became known."
    )
    collection: InfractionCollection | None = strawberry.field(
        description="The order of collection; null if there was none."
    )


def _contest(state: domain.Infraction) -> InfractionContest | None:
    contest, resolution = state.contest, state.resolution
    if contest is None:
        return None
    return InfractionContest(
        statement=contest.statement,
        contested_on=contest.contested_on,
        outcome=InfractionContestOutcome[resolution.outcome] if resolution else None,
        resolution=resolution.resolution if resolution else None,
        norm=resolution.norm if resolution else None,
        resolved_on=resolution.resolved_on if resolution else None,
    )


@node_query("infraction", "An infraction by its id; null if there is none.", who=OFFICERS)
async def infraction(
    info: Info,
    id: Annotated[strawberry.ID, INFRACTION_NAME, strawberry.argument(description="The plate, then an opaque part.")],
) -> Infraction | None:
    state = await info.context.state(domain.stream(id))
    if state.issued is None or state.account is None:
        return None
    sent = state.collection
    return Infraction(
        id=strawberry.ID(id),
        public=_public(id, state.issued, state.account),
        guard=state.issued.guard,
        evidence=state.issued.evidence,
        contest=_contest(state),
        receipts=[
            InfractionReceipt(reference=reference, amount=money_to_graphql(one.amount), paid_on=one.paid_on)
            for reference, one in state.account.payments.items()
        ],
        collection=InfractionCollection(document=sent.document, sent_on=sent.sent_on) if sent else None,
    )


InfractionLink = Annotated[str, LinkTo("infraction")]

_OF_PLATE = Listing("infractionsOf", views.LATEST_FIRST)


@query(
    "The infractions of a vehicle, the latest first: what is owed and why. `infractionPaymentPlaces` says where to pay."
    + BEHIND,
    who=EVERYBODY,
)
@paged
async def infractions_of(
    info: Info,
    *,
    plate: Annotated[str, PLATE, strawberry.argument(description="The plate in any spelling: 1234 ABC.")],
    page: PageArguments,
    at_least: AtLeast = None,
) -> Connection[PublicInfraction]:
    number = parse_number("VEHICLE", plate, "plate")
    wanted = page.of(info, _OF_PLATE, number)
    asked = views.of_plate(number, part=wanted.part)
    found = wanted.found(await info.context.ask(asked, at_least=at_least))
    return found.connection([from_row(row) for row in found.items])


@command(
    IssueInfraction,
    "Issue an infraction. Its fine and its terms are those that are published for its day, and stay as they are.",
    who=GUARDS,
    takes=Takes(
        "An infraction to issue. It has no data about persons.",
        plate=Given(
            "The plate in any spelling: 1234 ABC.",
            clean=lambda text: parse_number("VEHICLE", text, "plate").lower(),
        ),
        code="The code of the catalogue: t-12.",
        place=Given("Where it happened.", clean=str.strip),
        district=Given("The macrodistrict: Max Paredes.", clean=str.strip),
        occurred_at=Given("When it happened, not in the future.", type=Instant),
        guard="The code of the guard: g-451.",
        evidence=Given("Where photographs and papers are kept.", clean=str.strip),
        notified_on="The day on which the notice was given; default: the day of the infraction.",
    ),
    gives=Gives("The result of issuing an infraction.", infraction="The infraction."),
    new_id="infraction",
    within="plate",
    adds={"issued_by": lambda context, grant: grant.actor.name},
)
async def issue_infraction(_: Info, done: Done[IssueInfraction]) -> InfractionLink:
    return done.command.infraction
