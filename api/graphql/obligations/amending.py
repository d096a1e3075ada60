"""Amendments of an assessment in the schema: one officer proposes, another one approves."""

from typing import Any

import strawberry

from api.access.grant import Grant
from api.graphql.access import ALL, DOERS_OF_ALL, Rule
from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.context import Context
from api.graphql.fields import Info
from api.graphql.obligations.access import OFFICERS
from api.graphql.obligations.settling import ObligationLink
from api.graphql.scalars import DecimalText
from domain.money import parse_amount
from domain.obligations import amending as domain

SUPERVISORS: Rule = {"finance_supervisor": ALL, **DOERS_OF_ALL}


def _officer(_context: Context, grant: Grant) -> Any:
    return grant.actor.name


@command(
    domain.ProposeAmendment,
    "Propose another amount of an assessed tax: after a court case, a correction or a remission. It counts once a"
    " supervisor who did not propose it approves it.",
    who=OFFICERS,
    takes=Takes(
        "Another amount of an assessed tax.",
        obligation="The obligation.",
        amount=Given("The right amount in bolivianos; it may be 0.", type=DecimalText, clean=parse_amount),
        norm="The norm or ruling on which it is founded.",
        reason="The reason.",
    ),
    gives=Gives("The result of proposing an amendment.", obligation="The obligation.", amendment="The amendment's id."),
    new_id="amendment",
    adds={"proposed_by": _officer},
)
async def propose_amendment(_: Info, done: Done[domain.ProposeAmendment]) -> tuple[ObligationLink, strawberry.ID]:
    return done.command.obligation, strawberry.ID(done.command.amendment)


@command(
    domain.ApproveAmendment,
    "Approve an amendment: its amount counts as if it had been assessed at first. Not by whoever proposed it.",
    who=SUPERVISORS,
    takes=Takes("An amendment to approve.", obligation="The obligation.", amendment="The amendment's id."),
    gives=Gives("The result of approving an amendment.", obligation="The obligation."),
    adds={"approved_by": _officer},
)
async def approve_amendment(_: Info, done: Done[domain.ApproveAmendment]) -> ObligationLink:
    return done.command.obligation


@command(
    domain.RejectAmendment,
    "Reject an amendment, or withdraw one's own.",
    who=OFFICERS,
    takes=Takes("An amendment to reject.", obligation="The obligation.", amendment="The amendment's id."),
    gives=Gives("The result of rejecting an amendment.", obligation="The obligation."),
    adds={"rejected_by": _officer},
)
async def reject_amendment(_: Info, done: Done[domain.RejectAmendment]) -> ObligationLink:
    return done.command.obligation
