"""Who acts for an organisation, and who decides that."""

import pytest

from api.graphql.context import Context
from api.graphql.people.acting import acts_for, own_parties
from domain.identifiers import organisation_id
from infra.gateways.keys import Login
from tests.api.access.actors import (
    CI,
    CONFIRM,
    CONFIRM_REPRESENTATION,
    CORRECT_ORGANISATION,
    END_REPRESENTATION,
    ERASE,
    OFFICER,
    REJECT,
    REQUEST,
    codes,
    pair,
)
from tests.api.conftest import Client
from tests.city import opaque

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("people")]

ILLIMANI, SAJAMA = organisation_id(opaque("Illimani")), organisation_id(opaque("Sajama"))
ANA, LUIS, EVA = (Login(subject=name.lower(), identity=CI[name]) for name in ("Ana", "Luis", "Eva"))


async def acting(client: Client, login: Login) -> set[str]:
    """For whom somebody acts, of all who are here."""
    parties = {**{name: opaque(name) for name in CI}, "Illimani": ILLIMANI, "Sajama": SAJAMA}
    found = set()
    for name, party in parties.items():
        actor = await client.services.identities.actor(f"Bearer {client.token(login)}".encode())
        context = Context(client.services, actor=actor, language="es", correlation="test")
        acts = await acts_for(context, party)
        assert acts == await own_parties("owner").covers(context, {"owner": party})  # type: ignore[misc]
        if acts:
            found.add(name)
    return found


async def test_a_representative_acts_for_the_organisation_from_confirmation_to_the_end(client: Client) -> None:
    assert await acting(client, ANA) == {"Ana", "Illimani"}
    assert await acting(client, LUIS) == {"Luis", "Sajama"}
    assert await acting(client, EVA) == {"Eva"}
    assert await codes(client, OFFICER, CONFIRM_REPRESENTATION, pair("Eva", "Illimani")) == []
    assert await acting(client, EVA) == {"Eva", "Illimani"}
    assert await codes(client, EVA, END_REPRESENTATION, pair("Eva", "Illimani")) == []
    assert await acting(client, EVA) == {"Eva"}


async def test_acting_is_not_transitive(client: Client) -> None:
    """Ana acts for Eva, who represents Sajama."""
    assert await codes(client, OFFICER, CONFIRM_REPRESENTATION, pair("Eva", "Sajama")) == []
    care = {"guardian": opaque("Ana"), "dependant": opaque("Eva"), "relation": "CARE"}
    assert await codes(client, OFFICER, CONFIRM, care) == []
    assert await acting(client, ANA) == {"Ana", "Eva", "Illimani"}


async def test_nobody_unregistered_acts_for_anybody(client: Client) -> None:
    for login in (Login(subject="x", identity="9999999"), OFFICER):
        assert await acting(client, login) == set()


async def test_an_erased_representative_acts_for_nobody(client: Client) -> None:
    assert await codes(client, ANA, ERASE, {"person": opaque("Ana")}) == []
    assert await acting(client, ANA) == set()


@pytest.mark.parametrize(("document", "asked"), [(CONFIRM_REPRESENTATION, "Eva"), (REJECT, "Juan")])
async def test_an_officer_decides_nothing_of_their_own(client: Client, document: str, asked: str) -> None:
    """Not about themselves, and not about an organisation that they represent, as Ana does."""
    for name, code in (("Ana", ["forbidden"]), (asked, ["forbidden"]), ("Luis", [])):
        officer = Login(subject=f"o-{name}", roles=["procedures_officer"], identity=CI[name])
        assert await codes(client, officer, document, pair(asked, "Illimani")) == code


async def test_an_officer_corrects_no_organisation_of_their_own(client: Client) -> None:
    for name, code in (("Ana", ["forbidden"]), ("Luis", [])):
        officer = Login(subject=f"o-{name}", roles=["procedures_officer"], identity=CI[name])
        wanted = {"organisation": ILLIMANI, "name": f"Cooperativa {name}"}
        assert await codes(client, officer, CORRECT_ORGANISATION, wanted) == code


async def test_an_officer_confirms_no_request_of_the_same_login(client: Client) -> None:
    both = Login(subject="both", roles=["counter_clerk", "procedures_officer"])
    wanted = pair("Ana", "Sajama")
    assert await codes(client, both, REQUEST, wanted) == []
    assert await codes(client, both, CONFIRM_REPRESENTATION, wanted) == ["requested_by_yourself"]
    assert await codes(client, OFFICER, CONFIRM_REPRESENTATION, wanted) == []


async def test_a_representative_ends_another_one_of_the_same_organisation(client: Client) -> None:
    wanted = pair("Eva", "Illimani")
    assert await codes(client, OFFICER, CONFIRM_REPRESENTATION, wanted) == []
    assert await codes(client, LUIS, END_REPRESENTATION, wanted) == ["forbidden"]
    assert await codes(client, ANA, END_REPRESENTATION, wanted | {"reason": "AUTHORITY"}) == ["forbidden"]
    assert await codes(client, ANA, END_REPRESENTATION, wanted | {"reason": "ORGANISATION"}) == []
    assert await acting(client, EVA) == {"Eva"}


async def test_a_citizen_withdraws_their_own_request_alone(client: Client) -> None:
    assert await codes(client, EVA, END_REPRESENTATION, pair("Juan", "Illimani")) == ["forbidden"]
    assert await codes(client, EVA, END_REPRESENTATION, pair("Eva", "Illimani") | {"reason": "AUTHORITY"}) == [
        "forbidden"
    ]
    assert await codes(client, EVA, END_REPRESENTATION, pair("Eva", "Illimani")) == []
    assert await codes(client, OFFICER, CONFIRM_REPRESENTATION, pair("Eva", "Illimani")) == ["representation_over"]


async def test_a_citizen_asks_for_themselves_alone(client: Client) -> None:
    assert await codes(client, EVA, REQUEST, pair("Juan", "Sajama")) == ["forbidden"]
    assert await codes(client, EVA, CONFIRM_REPRESENTATION, pair("Eva", "Sajama")) == ["forbidden"]


async def test_an_organisation_is_nobody_s_patient(client: Client) -> None:
    """Whoever acts for an organisation can't name it where a person is meant."""
    client.act_as(ANA)
    answer = await client.ask("query ($id: ID!) { patient(id: $id) { __typename } }", id=ILLIMANI)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["invalid_input"]
