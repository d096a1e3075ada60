"""Organisations and their representatives over the API."""

from typing import Any

import pytest

from infra.gateways.keys import Login
from infra.log.core import Core
from tests.api.conftest import DEVELOPER, Client
from tests.city import key, opaque, organisation, person
from tests.conftest import Clock
from tests.towns import Town

pytestmark = pytest.mark.anyio

ERRORS = "errors { code message path }"
REGISTER = f"""mutation($input: RegisterOrganisationInput!) {{
  registerOrganisation(input: $input) {{ organisation {{ id name nit }} position {ERRORS} }}
}}"""
CORRECT = f"""mutation($input: CorrectOrganisationInput!) {{
  correctOrganisation(input: $input) {{ organisation {{ id name nit }} position {ERRORS} }}
}}"""
FIND = "query($nit: String!) { organisationByNit(nit: $nit) { id name nit } }"
SHOWN = f"representation {{ id state lastDay }} position {ERRORS}"
REQUEST = f"mutation($input: RequestRepresentationInput!) {{ requestRepresentation(input: $input) {{ {SHOWN} }} }}"
CONFIRM = f"mutation($input: ConfirmRepresentationInput!) {{ confirmRepresentation(input: $input) {{ {SHOWN} }} }}"
REJECT = f"mutation($input: RejectRepresentationInput!) {{ rejectRepresentation(input: $input) {{ {SHOWN} }} }}"
END = f"mutation($input: EndRepresentationInput!) {{ endRepresentation(input: $input) {{ {SHOWN} }} }}"
OF_ORGANISATION = """query($id: ID!) {
  organisation(id: $id) { name representatives(first: 9) { nodes { state representative { givenNames } } } }
}"""
VIEWER = "{ viewer { organisations(first: 9) { nodes { state organisation { name nit } } } } }"

CLERK = Login(subject="clerk", roles=["counter_clerk"])
OFFICER = Login(subject="officer", roles=["procedures_officer"])
ILLIMANI = {"idempotencyKey": "r", "nit": "1023467024", "name": "Cooperativa Illimani R. L."}


def citizen(name: str, ci: str) -> Login:
    return Login(subject=name, identity=ci)


ANA, LUIS = citizen("ana", "4820193"), citizen("luis", "5000001")


async def told(client: Client, login: Login, document: str, key: str, **wanted: Any) -> Any:
    """The payload for somebody."""
    client.act_as(login)
    payload = await client.data(document, input={"idempotencyKey": key, **wanted})
    client.act_as(DEVELOPER)
    return payload


def codes(payload: Any) -> list[tuple[str, list[str]]]:
    return [(error["code"], error["path"]) for error in payload["errors"]]


async def registered(client: Client, core: Core) -> str:
    """Illimani, and the persons Ana and Luis."""
    for name, login in (("Ana", "4820193"), ("Luis", "5000001")):
        await core.committer.submit(person(name, core, ci=login), key(name))
    return str((await client.data(REGISTER, input=ILLIMANI))["organisation"]["id"])


async def test_an_organisation_is_found_by_its_nit_however_it_is_spelt(client: Client) -> None:
    made = await client.data(REGISTER, input=ILLIMANI | {"nit": " 0102-346 7024", "name": " Illimani "})
    shown = {"id": made["organisation"]["id"], "name": "Illimani", "nit": "1023467024"}
    assert (made["organisation"], made["errors"]) == (shown, [])
    for spelling in ("1023467024", "001023467024", "10 2346 7024", "1.023.467-024"):
        assert await client.data(FIND, nit=spelling) == shown
    assert await client.data(FIND, nit="1023467025") is None


async def test_an_organisation_s_id_is_opaque(client: Client, core: Core) -> None:
    made = await registered(client, core)
    assert made.startswith("org-")
    assert len(made) == 30
    assert "1023467024" not in made


async def test_an_invalid_nit_is_refused_with_an_example(client: Client) -> None:
    answer = await client.ask(FIND, nit="NIT-1")
    assert answer["data"] == {"organisationByNit": None}
    assert answer["errors"][0]["extensions"] == {"code": "invalid_input", "path": ["nit"]}
    assert "1023467024" in answer["errors"][0]["message"]
    refused = await client.data(REGISTER, input=ILLIMANI | {"nit": "99001"})
    assert codes(refused) == [("invalid_input", ["nit"])]


async def test_a_nit_belongs_to_one_organisation(client: Client) -> None:
    made = await client.data(REGISTER, input=ILLIMANI)
    assert await client.data(REGISTER, input=ILLIMANI) == made
    again = await client.data(REGISTER, input=ILLIMANI | {"idempotencyKey": "again", "nit": "01023467024"})
    assert codes(again) == [("nit_taken", ["nit"])]


async def test_a_person_s_number_is_no_organisation_s(client: Client, core: Core) -> None:
    """A NIT may be written like an identity number; the hashes of the two differ."""
    await core.committer.submit(person("Ana", core, ci="1023467"), key("Ana"))
    assert core.secret.nit_digest("1023467") != core.secret.identity_digest("1023467")
    assert codes(await client.data(REGISTER, input=ILLIMANI | {"nit": "1023467"})) == []


async def test_an_organisation_is_corrected(client: Client, core: Core) -> None:
    made = await registered(client, core)
    wanted = {"idempotencyKey": "c", "organisation": made, "nit": "01023467025"}
    corrected = await client.data(CORRECT, input=wanted)
    shown = {"id": made, "name": ILLIMANI["name"], "nit": "1023467025"}
    assert (corrected["organisation"], corrected["errors"]) == (shown, [])
    assert await client.data(CORRECT, input=wanted) == corrected
    assert await client.data(FIND, nit="1023467024") is None
    assert await client.data(FIND, nit="1023467025") == shown
    again = ILLIMANI | {"idempotencyKey": "again", "name": "Tunari"}
    other = (await client.data(REGISTER, input=again))["organisation"]["id"]
    taken = {"idempotencyKey": "t", "organisation": other, "nit": "1023467025"}
    assert codes(await client.data(CORRECT, input=taken)) == [("nit_taken", ["nit"])]
    unknown = {"idempotencyKey": "u", "organisation": f"org-{opaque('none')}", "name": "X"}
    assert codes(await client.data(CORRECT, input=unknown)) == [("organisation_unknown", ["organisation"])]
    person = {"idempotencyKey": "p", "organisation": opaque("Ana"), "name": "X"}
    assert codes(await client.data(CORRECT, input=person)) == [("invalid_input", ["organisation"])]


async def test_the_log_has_the_name_and_not_the_nit(client: Client, core: Core, town: Town) -> None:
    await registered(client, core)
    written = str(town.execute("SELECT * FROM events")) + str(town.execute("SELECT * FROM event_log"))
    assert "1023467024" not in written
    assert "Cooperativa Illimani" in str(town.execute("SELECT convert_from(state, 'UTF8') FROM events"))


async def test_a_representation_is_requested_confirmed_and_ended(client: Client, core: Core) -> None:
    made = await registered(client, core)
    pair = {"organisation": made, "representative": opaque("Ana")}
    shown = {"id": f"{made}/{opaque('Ana')}", "state": "REQUESTED", "lastDay": None}
    requested = await told(client, ANA, REQUEST, "q", **pair)
    assert (requested["representation"], requested["errors"]) == (shown, [])
    confirmed = await told(client, OFFICER, CONFIRM, "c", **pair, lastDay="2027-06-30")
    shown |= {"state": "CONFIRMED", "lastDay": "2027-06-30"}
    assert (confirmed["representation"], confirmed["errors"]) == (shown, [])
    ended = await told(client, ANA, END, "e", **pair, reason="REPRESENTATIVE")
    assert (ended["representation"], ended["errors"]) == (shown | {"state": "ENDED"}, [])
    assert int(requested["position"]) < int(confirmed["position"]) < int(ended["position"])
    assert (await told(client, ANA, REQUEST, "q", **pair))["position"] == requested["position"]


async def test_a_request_is_rejected(client: Client, core: Core) -> None:
    made = await registered(client, core)
    pair = {"organisation": made, "representative": opaque("Ana")}
    await told(client, ANA, REQUEST, "q", **pair)
    rejected = await told(client, OFFICER, REJECT, "r", **pair)
    assert (rejected["representation"]["state"], rejected["errors"]) == ("REJECTED", [])
    assert codes(await told(client, OFFICER, CONFIRM, "c", **pair)) == [("representation_over", ["representative"])]
    assert (await told(client, ANA, REQUEST, "again", **pair))["representation"]["state"] == "REQUESTED"


async def test_an_unregistered_organisation_has_no_representatives(client: Client, core: Core) -> None:
    await registered(client, core)
    pair = {"organisation": f"org-{opaque('none')}", "representative": opaque("Ana")}
    assert codes(await told(client, ANA, REQUEST, "q", **pair)) == [("organisation_unknown", ["organisation"])]
    client.act_as(ANA)
    assert await client.data(OF_ORGANISATION, id=pair["organisation"]) is None


async def test_the_viewer_s_organisations_have_names(client: Client, core: Core) -> None:
    made = await registered(client, core)
    pair = {"organisation": made, "representative": opaque("Ana")}
    await told(client, ANA, REQUEST, "q", **pair)
    client.act_as(ANA)
    named = {"name": ILLIMANI["name"], "nit": "1023467024"}
    assert (await client.data(VIEWER))["organisations"]["nodes"] == [{"state": "REQUESTED", "organisation": named}]
    client.act_as(LUIS)
    assert (await client.data(VIEWER))["organisations"]["nodes"] == []
    client.act_as(CLERK)
    assert (await client.data(VIEWER))["organisations"]["nodes"] == []


async def test_the_representatives_are_shown_to_each_other_and_to_officers(client: Client, core: Core) -> None:
    made = await registered(client, core)
    for name, login in (("Ana", ANA), ("Luis", LUIS)):
        pair = {"organisation": made, "representative": opaque(name)}
        await told(client, login, REQUEST, name, **pair)
        client.act_as(login)
        before = await client.ask(OF_ORGANISATION, id=made)
        assert before["data"]["organisation"] == {"name": ILLIMANI["name"], "representatives": None}
        (error,) = before["errors"]
        assert error["extensions"]["code"] == "forbidden"
        assert error["path"] == ["organisation", "representatives"]
        await told(client, OFFICER, CONFIRM, name, **pair)
    client.act_as(CLERK)
    assert await client.data(OF_ORGANISATION, id=made) == {
        "name": ILLIMANI["name"],
        "representatives": {
            "nodes": [
                {"state": "CONFIRMED", "representative": {"givenNames": "Ana"}},
                {"state": "CONFIRMED", "representative": {"givenNames": "Luis"}},
            ]
        },
    }
    client.act_as(ANA)  # who sees that there is another one, and not who it is
    answer = await client.ask(OF_ORGANISATION, id=made)
    first, second = answer["data"]["organisation"]["representatives"]["nodes"]
    assert (first["representative"], second["representative"]) == ({"givenNames": "Ana"}, None)


async def test_a_representation_is_over_after_its_last_day(client: Client, core: Core, clock: Clock) -> None:
    made = await registered(client, core)
    pair = {"organisation": made, "representative": opaque("Ana")}
    await told(client, ANA, REQUEST, "q", **pair)
    late = await told(client, OFFICER, CONFIRM, "late", **pair, lastDay="2027-01-03")
    assert codes(late) == [("in_the_past", ["lastDay"])]
    await told(client, OFFICER, CONFIRM, "c", **pair, lastDay="2027-01-04")
    document = "query($id: ID!) { representation(id: $id) { state lastDay } }"
    shown = {"state": "CONFIRMED", "lastDay": "2027-01-04"}
    clock.wait(16 * 60 * 60 - 1)  # until the last second of the day in La Paz
    assert await client.data(document, id=f"{made}/{opaque('Ana')}") == shown
    clock.wait(1)
    assert await client.data(document, id=f"{made}/{opaque('Ana')}") == shown | {"state": "ENDED"}
    assert await client.data(document, id=f"{made}/{opaque('Luis')}") is None


async def test_refusals_are_in_both_languages(client: Client, core: Core) -> None:
    made = await registered(client, core)
    said = {}
    for language in ("es", "en"):
        wanted = {"idempotencyKey": language, "organisation": made, "representative": opaque("Ana")}
        (error,) = (await client.ask(CONFIRM, language=language, input=wanted))["data"]["confirmRepresentation"][
            "errors"
        ]
        said[language] = error["message"]
    assert said == {
        "es": "Esta persona no pidió representar a esa organización.",
        "en": "This person did not ask to represent that organisation.",
    }


async def test_a_page_of_representatives_takes_one_query_for_all(
    client: Client, core: Core, counted: list[Any]
) -> None:
    registered = organisation("Illimani", core)
    await core.committer.submit(registered, key("Illimani"))
    taken = []
    for number in range(3):
        name = f"Ana{number}"
        await core.committer.submit(person(name, core, ci=str(5_000_000 + number)), key(name))
        pair = {"organisation": registered.organisation, "representative": opaque(name)}
        await told(client, CLERK, REQUEST, name, **pair)
        await told(client, OFFICER, CONFIRM, name, **pair)
        before = len(counted)
        answer = await client.data(OF_ORGANISATION, id=registered.organisation)
        assert len(answer["representatives"]["nodes"]) == number + 1
        taken.append(len(counted) - before)
    assert len(set(taken)) == 1
