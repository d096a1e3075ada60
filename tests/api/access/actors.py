"""Who asks in the tests of access, and what there is to ask about."""

import uuid
from typing import Any

from api.access.identity import ROLES, Role
from domain.appointments.booking import BookAppointment
from domain.decider import build
from domain.identifiers import organisation_id
from domain.people.representatives import RequestRepresentation
from infra.gateways.keys import Login
from tests.api.conftest import Client
from tests.city import AGENDA, booking, opaque, open_line

LINE, OTHER_LINE = open_line("sopocachi").line, open_line("centro").line
OTHER_AGENDA = AGENDA.replace("la-merced", "san-juan")
CI = {"Ana": "4820193", "Luis": "5000001", "Eva": "6000001", "Juan": "7000001"}
NIT = {"Illimani": "1000001", "Sajama": "1000002"}
LOGINS: dict[Role, Login | None] = {
    **{
        role: Login(subject=f"a-{role}", roles=[role], hospitals=["la-merced"], service_points=["sopocachi"])
        for role in ROLES
    },
    "anonymous": None,
    "citizen": Login(subject="ana", identity=CI["Ana"]),
}
OFFICER = Login(subject="o", roles=["procedures_officer"])


def house_of(name: str) -> str:
    """The taxable object of Ana or Luis; the tax of 2020 is assessed for both."""
    return {"Ana": "property-1", "Luis": "property-2"}[name]


def visit(name: str, where: str) -> BookAppointment:
    """Nobody is in two places at once."""
    return booking({"Ana": 1, "Luis": 2}[name] if where == AGENDA else {"Ana": 3, "Luis": 4}[name], name, agenda=where)


def pair(name: str, of: str) -> dict[str, str]:
    """A person and an organisation."""
    return {"organisation": organisation_id(opaque(of)), "representative": opaque(name)}


def asking(name: str, of: str) -> RequestRepresentation:
    """A clerk asks for somebody to represent an organisation."""
    return build(RequestRepresentation, **pair(name, of), requested_by=opaque("clerk"))


HOLD = "mutation ($input: HoldSlotInput!) { holdSlot(input: $input) { errors { code } } }"
BOOK = "mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) { errors { code } } }"
REGISTER = "mutation ($input: RegisterPersonInput!) { registerPerson(input: $input) { person { id } errors { code } } }"
DECLARE = "mutation ($input: DeclareDependantInput!) { declareDependant(input: $input) { errors { code } } }"
CONFIRM = "mutation ($input: ConfirmDependantInput!) { confirmDependant(input: $input) { errors { code } } }"
REQUEST = "mutation ($input: RequestRepresentationInput!) { requestRepresentation(input: $input) { errors { code } } }"
CONFIRM_REPRESENTATION = """mutation ($input: ConfirmRepresentationInput!) {
  confirmRepresentation(input: $input) { errors { code } }
}"""
REJECT = "mutation ($input: RejectRepresentationInput!) { rejectRepresentation(input: $input) { errors { code } } }"
END_REPRESENTATION = (
    "mutation ($input: EndRepresentationInput!) { endRepresentation(input: $input) { errors { code } } }"
)
CORRECT_ORGANISATION = """mutation ($input: CorrectOrganisationInput!) {
  correctOrganisation(input: $input) { errors { code } }
}"""
END = "mutation ($input: EndDependencyInput!) { endDependency(input: $input) { errors { code } } }"
CANCEL = "mutation ($input: CancelAppointmentInput!) { cancelAppointment(input: $input) { errors { code } } }"
ERASE = "mutation ($input: ErasePersonInput!) { erasePerson(input: $input) { errors { code } } }"
VISITS = "appointments(first: 9) { nodes { hospital { code } } }"
CORRECT = "mutation ($input: CorrectPersonInput!) { correctPerson(input: $input) { errors { code } } }"
OFFICES = ("procedures_officer", "administrator")  # which correct an identity number, and nothing else


async def codes(client: Client, login: Login, document: str, wanted: dict[str, Any]) -> list[str]:
    """Of a mutation by somebody, why it was refused."""
    client.act_as(login)
    answer = await client.data(document, input={"idempotencyKey": str(uuid.uuid4()), **wanted})
    return [error["code"] for error in answer["errors"]]


async def hospitals(client: Client, login: Login, *names: str) -> list[set[str]]:
    """Where each of these has appointments, as somebody sees them who asks for all at once."""
    fields = [f'p{n}: patient(id: "{opaque(name)}") {{ {VISITS} }}' for n, name in enumerate(names)]
    client.act_as(login)
    seen = (await client.ask(f"{{ {' '.join(fields)} }}"))["data"]
    return [{visit["hospital"]["code"] for visit in patient["appointments"]["nodes"]} for patient in seen.values()]
