"""Who asks in the tests of access, and what there is to ask about."""

import uuid
from typing import Any

from api.access.identity import ROLES, Role
from domain.appointments.booking import BookAppointment
from infra.gateways.keys import Login
from tests.api.conftest import Client
from tests.city import AGENDA, booking, opaque, open_line

LINE, OTHER_LINE = open_line("sopocachi").line, open_line("centro").line
OTHER_AGENDA = AGENDA.replace("la-merced", "san-juan")
CI = {"Ana": "4820193", "Luis": "5000001", "Eva": "6000001", "Juan": "7000001"}
LOGINS: dict[Role, Login | None] = {
    **{
        role: Login(subject=f"a-{role}", roles=[role], hospitals=["la-merced"], service_points=["sopocachi"])
        for role in ROLES
    },
    "anonymous": None,
    "citizen": Login(subject="ana", identity=CI["Ana"]),
}
OFFICER = Login(subject="o", roles=["procedures_officer"])


def visit(name: str, where: str) -> BookAppointment:
    """Nobody is in two places at once."""
    return booking({"Ana": 1, "Luis": 2}[name] if where == AGENDA else {"Ana": 3, "Luis": 4}[name], name, agenda=where)


HOLD = "mutation ($input: HoldSlotInput!) { holdSlot(input: $input) { errors { code } } }"
BOOK = "mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) { errors { code } } }"
REGISTER = "mutation ($input: RegisterPersonInput!) { registerPerson(input: $input) { person { id } errors { code } } }"
DECLARE = "mutation ($input: DeclareDependantInput!) { declareDependant(input: $input) { errors { code } } }"
CONFIRM = "mutation ($input: ConfirmDependantInput!) { confirmDependant(input: $input) { errors { code } } }"
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
