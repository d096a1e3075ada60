"""Contesting an infraction, and resolving the contest, in the schema."""

from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.fields import Info
from api.graphql.infractions.access import RECEIVERS, RESOLVERS
from api.graphql.infractions.infractions import InfractionLink
from domain.infractions.contesting import ContestInfraction, ResolveContest


@command(
    ContestInfraction,
    "Record that an infraction is contested, within its term. Until the resolution no day counts for its payment.",
    who=RECEIVERS,
    takes=Takes(
        "A contest to record.",
        infraction="The infraction.",
        statement=Given("The paper in which it is contested. It names no person.", clean=str.strip),
    ),
    gives=Gives("The result of recording a contest.", infraction="The infraction."),
)
async def contest_infraction(_: Info, done: Done[ContestInfraction]) -> InfractionLink:
    return done.command.infraction


@command(
    ResolveContest,
    "Resolve the contest of an infraction that somebody else issued.",
    who=RESOLVERS,
    takes=Takes(
        "A contest to resolve.",
        infraction="The infraction.",
        outcome="The outcome.",
        resolution=Given("The resolution.", clean=str.strip),
        norm=Given("The norm on which it is based.", clean=str.strip),
    ),
    gives=Gives("The result of resolving a contest.", infraction="The infraction."),
    adds={"resolved_by": lambda context, grant: grant.actor.name},
)
async def resolve_contest(_: Info, done: Done[ResolveContest]) -> InfractionLink:
    return done.command.infraction
