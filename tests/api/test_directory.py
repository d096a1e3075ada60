"""Names: registered, replaced, searched without accents and case, and shown beside agendas."""

from typing import Any

import pytest

from domain.appointments.hospital import RegisterHospital
from domain.appointments.practitioner import RegisterPractitioner, RegisterRoom
from domain.appointments.specialty import RegisterSpecialty
from domain.decider import Command, build
from infra.gateways.keys import Login
from infra.log.core import Core
from tests.api.conftest import Client
from tests.city import agenda, booking, hospital, key, opaque, person

pytestmark = pytest.mark.anyio

PLACE = {"latitude": -16.4793, "longitude": -68.1189}
REGISTER_HOSPITAL = """mutation($input: RegisterHospitalInput!) { registerHospital(input: $input) { position
  hospital { id code name address district phone location { latitude longitude } } errors { code path message } } }"""
REGISTER_SPECIALTY = """mutation($input: RegisterSpecialtyInput!) { registerSpecialty(input: $input) {
  specialty { id code name } errors { code path message } } }"""
REGISTER_PRACTITIONER = """mutation($input: RegisterPractitionerInput!) { registerPractitioner(input: $input) {
  practitioner { id code name specialties { id code name } hospital { name } } errors { code path message } } }"""
REGISTER_ROOM = """mutation($input: RegisterRoomInput!) { registerRoom(input: $input) {
  room { id code name hospital { code } } errors { code path message } } }"""
AGENDAS = """{ agendas(hospital: "la-merced", onOrAfter: "2027-01-05", first: 10) { nodes {
  specialty { id code name } practitioner { id code name } room { id name hospital { name } } } } }"""


async def register(core: Core, *commands: Command) -> None:
    for number, command in enumerate(commands):
        await core.committer.submit(command, key(f"name {number} {command}"))


def codes(page: Any) -> list[str]:
    return [node["code"] for node in page["nodes"]]


NAMES = (
    build(RegisterHospital, hospital="la-merced", name="Hospital La Merced", district="Periférica"),
    build(RegisterHospital, hospital="mujer", name="Hospital de la Mujer", district="Centro"),
    build(RegisterSpecialty, specialty="pediatrics", name="Pediatría"),
    build(RegisterSpecialty, specialty="cardiology", name="Cardiología"),
    build(
        RegisterPractitioner,
        practitioner="p-01",
        name="Dra. Wara Ñáñez",
        specialties=["pediatrics", "surgery"],
        hospital="la-merced",
    ),
    build(RegisterPractitioner, practitioner="p-02", name="Dr. Inti Choque", specialties=["cardiology"]),
    build(RegisterRoom, room="dental-1", hospital="la-merced", name="Consultorio dental"),
)


class TestRegistering:
    async def test_a_hospital_has_contact_details_as_they_were_given(self, client: Client) -> None:
        details = {"address": " Av. 15 de Abril 120 ", "district": "Periférica", "phone": "+591 (2) 000-0000"}
        wanted = {"hospital": "la-merced", "name": "La Merced", **details, "location": PLACE}
        answer = await client.data(REGISTER_HOSPITAL, input={"idempotencyKey": "h", **wanted})
        shown = {
            "id": "hospital:la-merced",
            "code": "la-merced",
            "name": "La Merced",
            "address": "Av. 15 de Abril 120",
            "district": "Periférica",
            "phone": "+59120000000",
            "location": PLACE,
        }
        assert (answer["hospital"], answer["errors"]) == (shown, [])
        again = await client.data(REGISTER_HOSPITAL, input={"idempotencyKey": "h", **wanted})
        assert again == answer
        fields = "id code name address district phone location { latitude longitude }"
        assert await client.data(f'{{ hospital(code: "la-merced") {{ {fields} }} }}') == shown
        assert (await client.data(f"{{ hospitals(first: 1) {{ nodes {{ {fields} }} }} }}"))["nodes"] == [shown]

    async def test_other_details_are_refused_and_replaced_when_asked(self, client: Client) -> None:
        wanted = {"hospital": "la-merced", "name": "La Merced", "phone": "22000000"}
        await client.data(REGISTER_HOSPITAL, input={"idempotencyKey": "1", **wanted})
        moved = {"hospital": "la-merced", "name": "La Merced", "address": "Otra calle 1"}
        refused = await client.data(REGISTER_HOSPITAL, input={"idempotencyKey": "2", **moved})
        (error,) = refused["errors"]
        assert (refused["hospital"], error["code"], error["path"]) == (None, "hospital_exists", ["hospital"])
        replaced = await client.data(REGISTER_HOSPITAL, input={"idempotencyKey": "3", **moved, "replace": True})
        assert (replaced["hospital"]["address"], replaced["hospital"]["phone"]) == ("Otra calle 1", None)

    @pytest.mark.parametrize(
        ("latitude", "longitude", "path"),
        [(-90.000001, 0, "latitude"), (1e300, 0, "latitude"), (0, -1e300, "longitude"), (0, 180.1, "longitude")],
    )
    async def test_a_place_beyond_the_globe_is_refused_by_name(
        self, client: Client, latitude: float, longitude: float, path: str
    ) -> None:
        place = {"latitude": latitude, "longitude": longitude}
        wanted = {"idempotencyKey": "h", "hospital": "la-merced", "name": "La Merced", "location": place}
        (error,) = (await client.data(REGISTER_HOSPITAL, input=wanted))["errors"]
        assert (error["code"], error["path"]) == ("invalid_input", ["location", path])
        assert "grados" in error["message"]

    async def test_a_specialty_a_practitioner_and_a_room_are_registered(self, client: Client, core: Core) -> None:
        await core.committer.submit(hospital(), key("h"))
        pediatrics = {"id": "specialty:pediatrics", "code": "pediatrics", "name": "Pediatría"}
        surgery = {"id": "specialty:surgery", "code": "surgery", "name": None}
        for _ in range(2):  # a repetition answers the same
            wanted: dict[str, Any] = {"idempotencyKey": "s", "specialty": "pediatrics", "name": " Pediatría "}
            answer = await client.data(REGISTER_SPECIALTY, input=wanted)
            assert answer == {"specialty": pediatrics, "errors": []}
            wanted = {"idempotencyKey": "p", "practitioner": "p-01", "name": "Dra. Wara Quispe"}
            wanted |= {"specialties": ["pediatrics", "surgery"], "hospital": "la-merced"}
            answer = await client.data(REGISTER_PRACTITIONER, input=wanted)
            assert answer["practitioner"] == {
                "id": "practitioner:p-01",
                "code": "p-01",
                "name": "Dra. Wara Quispe",
                "specialties": [pediatrics, surgery],
                "hospital": {"name": "Hospital la-merced"},
            }
            wanted = {"idempotencyKey": "r", "room": "dental-1", "hospital": "la-merced", "name": "Consultorio dental"}
            answer = await client.data(REGISTER_ROOM, input=wanted)
            assert answer["room"] == {
                "id": "room:dental-1",
                "code": "dental-1",
                "name": "Consultorio dental",
                "hospital": {"code": "la-merced"},
            }

    async def test_specialties_and_hospital_of_a_practitioner_are_optional(self, client: Client) -> None:
        wanted = {"idempotencyKey": "p", "practitioner": "p-01", "name": "Dra. Wara Quispe"}
        answer = await client.data(REGISTER_PRACTITIONER, input=wanted)
        assert (answer["practitioner"]["specialties"], answer["practitioner"]["hospital"]) == ([], None)

    @pytest.mark.parametrize(
        ("document", "name", "refused"),
        [
            (REGISTER_SPECIALTY, "specialty", "specialty_exists"),
            (REGISTER_PRACTITIONER, "practitioner", "practitioner_exists"),
            (REGISTER_ROOM, "room", "room_exists"),
        ],
    )
    async def test_another_name_is_refused_and_replaced_when_asked(
        self, client: Client, core: Core, document: str, name: str, refused: str
    ) -> None:
        await core.committer.submit(hospital(), key("h"))
        at = {"hospital": "la-merced"} if name == "room" else {}
        await client.data(document, input={"idempotencyKey": "1", name: "x-1", "name": "Uno", **at})
        other = {name: "x-1", "name": "Dos", **at}
        (error,) = (await client.data(document, input={"idempotencyKey": "2", **other}))["errors"]
        assert (error["code"], error["path"]) == (refused, [name])
        assert "Uno" in error["message"]
        answer = await client.data(document, input={"idempotencyKey": "3", "replace": True, **other})
        assert answer[name]["name"] == "Dos"


class TestLists:
    @pytest.fixture(autouse=True)
    async def _names(self, core: Core) -> None:
        await register(core, *NAMES)

    @pytest.mark.parametrize(
        ("field", "found"),
        [
            ("hospitals(first: 9)", ["mujer", "la-merced"]),
            ('hospitals(first: 9, search: "MERCED")', ["la-merced"]),
            ('hospitals(first: 9, search: "mércéd hosp")', ["la-merced"]),
            ('hospitals(first: 9, search: "")', ["mujer", "la-merced"]),
            ('hospitals(first: 9, district: "PERIFERICA")', ["la-merced"]),
            ('hospitals(first: 9, district: "Sur")', []),
            ("specialties(first: 9)", ["cardiology", "pediatrics"]),
            ("specialties(last: 1)", ["pediatrics"]),
            ('specialties(first: 9, search: "pediatria")', ["pediatrics"]),
            ('specialties(first: 9, search: "LOGÍA")', ["cardiology"]),
            ('practitioners(first: 9, search: "nanez")', ["p-01"]),
            ('practitioners(first: 9, specialty: "cardiology")', ["p-02"]),
            ('practitioners(first: 9, hospital: "la-merced")', ["p-01"]),
            ('practitioners(first: 9, hospital: "la-merced", specialty: "cardiology")', []),
            ('rooms(first: 9, hospital: "la-merced", search: "dental")', ["dental-1"]),
            ('rooms(first: 9, hospital: "mujer")', []),
        ],
    )
    async def test_lists_are_by_name_and_searched(self, client: Client, field: str, found: list[str]) -> None:
        assert codes(await client.data(f"{{ {field} {{ nodes {{ code name }} }} }}")) == found

    async def test_lists_come_in_pages(self, client: Client) -> None:
        document = """query($after: String) { practitioners(first: 1, after: $after) {
          nodes { code } pageInfo { endCursor hasNextPage } } }"""
        first = await client.data(document)
        second = await client.data(document, after=first["pageInfo"]["endCursor"])
        assert (codes(first), codes(second)) == (["p-02"], ["p-01"])
        assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)

    @pytest.mark.parametrize(
        ("field", "path"),
        [
            ('hospitals(first: 1, search: "\\u0000")', "search"),
            (f'hospitals(first: 1, search: "{"x" * 101}")', "search"),
            ('hospitals(first: 1, district: "a\\nb")', "district"),
            ('practitioners(first: 1, hospital: "La Merced")', "hospital"),
            ('practitioners(first: 1, specialty: "")', "specialty"),
            ('rooms(first: 1, hospital: "x/y")', "hospital"),
        ],
    )
    async def test_a_search_that_is_none_is_refused(self, client: Client, field: str, path: str) -> None:
        (error,) = (await client.ask(f"{{ {field} {{ nodes {{ code }} }} }}"))["errors"]
        assert (error["extensions"]["code"], error["extensions"]["path"]) == ("invalid_input", [path])

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("hospital:la-merced", {"name": "Hospital La Merced"}),
            ("specialty:pediatrics", {"name": "Pediatría"}),
            ("specialty:surgery", {"name": None}),
            ("practitioner:p-02", {"name": "Dr. Inti Choque"}),
            ("practitioner:p-99", {"name": None}),
            ("practitioner:dental-1", None),
            ("room:dental-1", {"name": "Consultorio dental"}),
            ("room:p-01", None),
            ("room:nowhere", None),
        ],
    )
    async def test_each_is_found_by_its_id_and_by_its_code(self, client: Client, name: str, shown: Any) -> None:
        kind, _, code = name.partition(":")
        document = f"query($id: ID!) {{ node(id: $id) {{ ... on {kind.title()} {{ name }} }} }}"
        assert await client.data(document, id=name) == shown
        assert await client.data(f"query($code: String!) {{ {kind}(code: $code) {{ name }} }}", code=code) == shown

    @pytest.mark.parametrize("field", ["specialty", "practitioner", "room"])
    async def test_what_is_no_code_is_refused(self, client: Client, field: str) -> None:
        for code in ("Pediatría", "", "a\u0000", "x" * 41):
            document = f"query($code: String!) {{ {field}(code: $code) {{ code }} }}"
            (error,) = (await client.ask(document, code=code))["errors"]
            assert (error["extensions"]["code"], error["extensions"]["path"]) == ("invalid_input", ["code"])


class TestAgendas:
    async def shown(self, client: Client) -> list[Any]:
        nodes: list[Any] = (await client.data(AGENDAS))["nodes"]
        return nodes

    async def test_an_agenda_shows_names_and_codes_that_are_not_registered(self, client: Client, core: Core) -> None:
        await core.committer.submit(hospital(), key("h"))
        for code in ("p-01", "dental-1"):
            await core.committer.submit(agenda(1, practitioner=code), key(code))
        nameless = {"id": "specialty:pediatrics", "code": "pediatrics", "name": None}
        assert await self.shown(client) == [
            {
                "specialty": nameless,
                "practitioner": {"id": "practitioner:dental-1", "code": "dental-1", "name": None},
                "room": None,
            },
            {
                "specialty": nameless,
                "practitioner": {"id": "practitioner:p-01", "code": "p-01", "name": None},
                "room": None,
            },
        ]
        await register(core, *NAMES[2:])
        named = nameless | {"name": "Pediatría"}
        at = {"name": "Hospital la-merced"}
        assert await self.shown(client) == [
            {
                "specialty": named,
                "practitioner": None,
                "room": {"id": "room:dental-1", "name": "Consultorio dental", "hospital": at},
            },
            {
                "specialty": named,
                "practitioner": {"id": "practitioner:p-01", "code": "p-01", "name": "Dra. Wara Ñáñez"},
                "room": None,
            },
        ]

    async def test_a_room_of_another_hospital_is_not_the_agenda_s(self, client: Client, core: Core) -> None:
        await core.committer.submit(hospital(), key("h"))
        await core.committer.submit(agenda(1, practitioner="room-3"), key("a"))
        room = build(RegisterRoom, room="room-3", hospital="mujer", name="Sala 3")
        await register(core, NAMES[1], room)
        (shown,) = await self.shown(client)
        assert (shown["room"], shown["practitioner"]["code"]) == (None, "room-3")

    async def test_a_citizen_sees_the_names_of_an_appointment(self, client: Client, core: Core) -> None:
        await register(core, *NAMES)
        await core.committer.submit(agenda(2), key("a"))
        await core.committer.submit(person("Ana", core), key("Ana"))
        await core.committer.submit(booking(1, "Ana"), key("b"))
        client.act_as(Login(subject="ana", roles=["citizen"], identity="4820193"))
        document = """query($id: ID!) { appointments(patient: $id, first: 1) { nodes {
          specialty { name } agenda { practitioner { name hospital { district } } } } } }"""
        (shown,) = (await client.data(document, id=opaque("Ana")))["nodes"]
        assert shown == {
            "specialty": {"name": "Pediatría"},
            "agenda": {"practitioner": {"name": "Dra. Wara Ñáñez", "hospital": {"district": "Periférica"}}},
        }

    async def test_a_page_with_names_takes_as_many_statements_as_three_agendas(
        self, client: Client, core: Core, counted: list[Any]
    ) -> None:
        async def statements() -> int:
            await self.shown(client)  # read models are up to date then
            before = len(counted)
            await self.shown(client)
            return len(counted) - before

        await register(core, *NAMES)
        for code in ("p-01", "dental-1", "not-registered"):
            await core.committer.submit(agenda(1, practitioner=code), key(code))
        three = await statements()
        for number in range(2, 9):
            more = agenda(1, practitioner=f"p-{number:02d}", specialty=f"s-{number}")
            await core.committer.submit(more, key(str(number)))
        assert len(await self.shown(client)) == 10
        assert await statements() == three
