"""Guardians and their dependants over the API."""

from typing import Any

import pytest

from infra.gateways.keys import Login
from tests.api.conftest import DEVELOPER, Client
from tests.api.test_appointments import REGISTER
from tests.api.test_people import ERASE
from tests.conftest import Clock

pytestmark = pytest.mark.anyio

SHOWN = "dependant { id relation confirmed until ended } position errors { code path message }"
DECLARE = f"mutation($input: DeclareDependantInput!) {{ declareDependant(input: $input) {{ {SHOWN} }} }}"
CONFIRM = f"mutation($input: ConfirmDependantInput!) {{ confirmDependant(input: $input) {{ {SHOWN} }} }}"
END = f"mutation($input: EndDependencyInput!) {{ endDependency(input: $input) {{ {SHOWN} }} }}"
LIST = """query($guardian: ID!, $first: Int!, $after: String) {
  dependants(guardian: $guardian, first: $first, after: $after) {
    nodes { id relation confirmed until ended } pageInfo { endCursor hasNextPage }
  }
}"""


async def register(client: Client, ci: int, birth_date: str) -> str:
    said = {"idempotencyKey": f"r{ci}", "identity": str(ci), "givenNames": "Ana", "familyNames": "Mamani",
            "birthDate": birth_date, "sex": "F"}  # fmt: skip
    return str((await client.data(REGISTER, input=said))["person"]["id"])


async def family(client: Client, children: int = 1) -> tuple[str, list[str]]:
    """A guardian and so many children, who grow up on 5 January 2027: tomorrow, by the tests' clock."""
    ana = await register(client, 1_000_000, "1990-05-17")
    return ana, [await register(client, 1_000_001 + n, "2009-01-05") for n in range(children)]


def wanted(guardian: str, dependant: str, key: str, **more: str) -> dict[str, str]:
    return {"idempotencyKey": key, "guardian": guardian, "dependant": dependant} | more


async def confirm(client: Client, wanted: dict[str, str]) -> Any:
    """What an officer is answered."""
    client.act_as(Login(subject="officer", roles=["procedures_officer"]))
    answer = await client.data(CONFIRM, input={"relation": "MINOR"} | wanted)
    client.act_as(DEVELOPER)
    return answer


async def listed(client: Client, guardian: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.data(LIST, guardian=guardian, first=100))["nodes"]
    return found


async def test_a_dependant_is_declared_confirmed_and_ended(client: Client) -> None:
    ana, (eva,) = await family(client)
    shown = {
        "id": f"{ana}/{eva}", "relation": "MINOR", "confirmed": False, "until": None, "ended": False,
    }  # fmt: skip
    declared = await client.data(DECLARE, input=wanted(ana, eva, "d", relation="MINOR"))
    assert (declared["dependant"], declared["errors"]) == (shown, [])
    confirmed = await confirm(client, wanted(ana, eva, "c"))
    assert (confirmed["dependant"], confirmed["errors"]) == (shown | {"confirmed": True, "until": "2027-01-05"}, [])
    ended = await client.data(END, input=wanted(ana, eva, "e", reason="AUTHORITY"))
    assert (ended["dependant"], ended["errors"]) == (shown | {"confirmed": True, "ended": True}, [])
    assert int(declared["position"]) < int(confirmed["position"]) < int(ended["position"])
    again = await client.data(DECLARE, input=wanted(ana, eva, "d", relation="MINOR"))
    assert again["position"] == declared["position"]
    assert await listed(client, eva) == []


async def test_a_dependant_links_to_both_persons_if_permitted(client: Client) -> None:
    ana, (eva,) = await family(client)
    await client.data(DECLARE, input=wanted(ana, eva, "d", relation="MINOR"))
    document = """query($id: ID!) { dependant(id: $id) { id guardian { id givenNames } person { id birthDate } } }"""
    asked = f"{ana}/{eva}"
    assert await client.data(document, id=asked) == {
        "id": asked, "guardian": {"id": ana, "givenNames": "Ana"}, "person": {"id": eva, "birthDate": "2009-01-05"},
    }  # fmt: skip
    assert await client.data(document, id=f"{eva}/{ana}") is None
    client.act_as(Login(subject="officer", roles=["procedures_officer"]))  # who may not read persons
    answer = await client.ask(document, id=asked)
    assert answer["data"]["dependant"] == {"id": asked, "guardian": None, "person": None}
    errors = [(error["path"], error["extensions"]["code"]) for error in answer["errors"]]
    assert sorted(errors) == [(["dependant", "guardian"], "forbidden"), (["dependant", "person"], "forbidden")]


async def test_a_minor_s_dependency_expires(client: Client, clock: Clock) -> None:
    ana, (eva,) = await family(client)
    await client.data(DECLARE, input=wanted(ana, eva, "d", relation="MINOR"))
    await confirm(client, wanted(ana, eva, "c"))
    clock.wait(16 * 60 * 60 - 1)  # until the last second of the day in La Paz
    assert [(node["until"], node["ended"]) for node in await listed(client, ana)] == [("2027-01-05", False)]
    clock.wait(1)
    assert [(node["until"], node["ended"]) for node in await listed(client, ana)] == [(None, True)]
    late = await confirm(client, wanted(ana, eva, "late"))
    assert [(error["code"], error["path"]) for error in late["errors"]] == [("dependency_over", ["dependant"])]


async def test_a_declaration_reveals_no_age(client: Client, clock: Clock) -> None:
    ana, (eva,) = await family(client)
    luis = await register(client, 2_000_000, "1980-01-01")
    for one in (eva, luis):
        told = await client.data(DECLARE, input=wanted(ana, one, f"d-{one}", relation="MINOR"))
        assert (told["dependant"]["until"], told["dependant"]["ended"], told["errors"]) == (None, False, [])
    clock.wait(2 * 86_400)
    assert [(node["until"], node["ended"]) for node in await listed(client, ana)] == [(None, False)] * 2
    for one in (eva, luis):
        answer = await confirm(client, wanted(ana, one, f"c-{one}"))
        assert [(error["code"], error["path"]) for error in answer["errors"]] == [("not_a_minor", ["dependant"])]


async def test_a_confirmation_is_for_the_declared_relation(client: Client) -> None:
    ana, (eva,) = await family(client)
    await client.data(DECLARE, input=wanted(ana, eva, "d", relation="CARE"))
    answer = await confirm(client, wanted(ana, eva, "c", relation="MINOR"))
    assert [(error["code"], error["path"]) for error in answer["errors"]] == [("declared_otherwise", ["relation"])]
    assert [node["confirmed"] for node in await listed(client, ana)] == [False]


async def test_the_declaring_login_cannot_confirm(client: Client) -> None:
    ana, (eva,) = await family(client)
    pair = wanted(ana, eva, "d", relation="MINOR")
    await client.data(DECLARE, input=pair)
    told = await client.data(CONFIRM, input=pair | {"idempotencyKey": "c"})
    assert [(error["code"], error["path"]) for error in told["errors"]] == [("declared_by_yourself", [])]
    assert (await confirm(client, pair))["errors"] == []


async def test_dependants_are_paged_by_declaration(client: Client) -> None:
    ana, children = await family(client, 3)
    for child in children:
        await client.data(DECLARE, input=wanted(ana, child, child, relation="CARE"))
    page = await client.data(LIST, guardian=ana, first=2)
    assert [node["id"] for node in page["nodes"]] == [f"{ana}/{child}" for child in children[:2]]
    assert page["nodes"][0] == {
        "id": f"{ana}/{children[0]}", "relation": "CARE", "confirmed": False, "until": None, "ended": False,
    }  # fmt: skip
    assert page["pageInfo"]["hasNextPage"] is True
    rest = await client.data(LIST, guardian=ana, first=2, after=page["pageInfo"]["endCursor"])
    assert [node["id"] for node in rest["nodes"]] == [f"{ana}/{child}" for child in children[2:]]
    assert rest["pageInfo"]["hasNextPage"] is False


async def test_invalid_pages_are_refused(client: Client) -> None:
    ana, _ = await family(client, 0)
    for wrong, path in (({"first": 1, "after": "a" * 26}, "after"), ({"first": 0}, "first")):
        answer = await client.ask(LIST, guardian=ana, **wrong)
        assert answer["data"] is None
        assert answer["errors"][0]["extensions"] == {"code": "invalid_input", "path": [path]}


async def test_an_erased_child_has_no_birthday_and_no_guardian(client: Client) -> None:
    ana, children = await family(client, 2)
    for child in children:
        await client.data(DECLARE, input=wanted(ana, child, f"d-{child}", relation="MINOR"))
        await confirm(client, wanted(ana, child, child))
    await client.data(ERASE, input={"idempotencyKey": "e", "person": children[0]})
    assert [(node["until"], node["ended"]) for node in await listed(client, ana)] == [
        (None, True),
        ("2027-01-05", False),
    ]
    answer = await confirm(client, wanted(ana, children[0], "c"))
    assert (answer["errors"][0]["code"], answer["errors"][0]["path"]) == ("person_unknown", ["dependant"])


async def test_refusals_are_in_both_languages(client: Client) -> None:
    ana, (eva,) = await family(client)
    said = {}
    for language in ("es", "en"):
        back = wanted(eva, ana, f"under-age-{language}", relation="CARE")
        answer = (await client.ask(DECLARE, language=language, input=back))["data"]["declareDependant"]
        assert (answer["dependant"], answer["position"]) == (None, None)
        (error,) = answer["errors"]
        assert (error["code"], error["path"]) == ("guardian_under_age", ["guardian"])
        said[language] = error["message"]
    assert said["en"] == "A guardian must be at least 18 years old."
    assert "18 años" in said["es"]


async def test_invalid_ids_are_refused_by_name(client: Client) -> None:
    ana, _ = await family(client, 0)
    for number, document in enumerate((DECLARE, CONFIRM, END)):
        more = {} if document == END else {"relation": "CARE"}
        answer = await client.data(document, input=wanted(ana, "Eva", f"k{number}", **more))
        assert [(error["code"], error["path"]) for error in answer["errors"]] == [("invalid_input", ["dependant"])]
