"""Scopes of appointments: what belongs to an actor's hospital, and whose appointment it is."""

from api.graphql.access import ALL, DOERS_OF_ALL, READERS_OF_ALL, Arguments, Rule, Scope, argument, own_places
from api.graphql.context import Context
from api.graphql.people.acting import acts_for
from domain.appointments import agenda as agendas
from domain.channels import may_use
from domain.identifiers import agenda_of, hospital_of


def own_hospital(path: str) -> Scope:
    """Data of a hospital where the actor works. Ids of agendas and appointments begin with the hospital's code."""
    return own_places(
        "hospital_clerk",
        "at the hospitals where they work",
        lambda arguments: {hospital_of(str(argument(arguments, path)))},
    )


def own_appointment(path: str) -> Scope:
    """Appointments of the actor and of the people for whom they act."""
    return Scope(
        "for themselves and their confirmed dependants",
        lambda context, arguments: is_own_appointment(context, str(argument(arguments, path))),
    )


async def is_own_appointment(context: Context, appointment: str) -> bool:
    """Whether the actor acts for the patient of an appointment."""
    agenda: agendas.Agenda = await context.state(agendas.stream(agenda_of(appointment)))
    booked = agenda.appointments.get(appointment)
    return booked is not None and await acts_for(context, booked.patient)


def by_web(arguments: Arguments) -> bool:
    return may_use("citizen", argument(arguments, "input.channel"))


def not_by_web(arguments: Arguments) -> bool:
    return may_use("clerk", argument(arguments, "input.channel"))


# Who reads one appointment, and who changes those of a hospital.
READERS: Rule = {"citizen": own_appointment("id"), "hospital_clerk": own_hospital("id"), **READERS_OF_ALL}
HOSPITAL_READERS: Rule = {"hospital_clerk": own_hospital("hospital"), **READERS_OF_ALL}
CLERKS_OF_APPOINTMENT: Rule = {"hospital_clerk": own_hospital("input.appointment"), **DOERS_OF_ALL}
CLERKS_AND_SYSTEM: Rule = {**CLERKS_OF_APPOINTMENT, "system": ALL}
