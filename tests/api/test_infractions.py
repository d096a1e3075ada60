"""Infractions over the API: issued, looked up by plate, contested, paid, collected; and who sees what."""

from decimal import ROUND_HALF_UP, Decimal
from itertools import count
from typing import Any

import pytest

from infra.gateways.keys import Login
from infra.log.core import Core
from tests.api.conftest import DEVELOPER, Client
from tests.conftest import Clock

pytestmark = pytest.mark.anyio

DAY_S = 86_400
GUARD = Login(subject="guard", roles=["transport_guard"])
OFFICER = Login(subject="officer", roles=["procedures_officer"])
CLERK = Login(subject="clerk", roles=["counter_clerk"], service_points=["sopocachi"])
FINANCE = Login(subject="finance", roles=["finance_officer"])
WAGE: dict[str, Any] = {"effectiveFrom": "2026-01-01", "amount": "2750.10", "norm": "DS 5500"}
CODE: dict[str, Any] = {
    "code": "t-12",
    "effectiveFrom": "2026-01-01",
    "description": "Estacionar en la acera",
    "norm": "LM 015/2012",
}
TERMS: dict[str, Any] = {
    "effectiveFrom": "2026-01-01",
    "norm": "Reglamento 428/2018",
    "dayFinePercent": "5",
    "discounts": [{"withinDays": 5, "percent": "50"}, {"withinDays": 10, "percent": "20.00"}],
    "termDays": 30,
    "penaltyPercent": "10",
    "contestDays": 15,
}
ISSUE: dict[str, Any] = {
    "plate": "1234 abc",
    "code": "t-12",
    "place": "Av. 16 de Julio 1490",
    "district": "Centro",
    "occurredAt": "2027-01-04T11:30:00Z",
    "guard": "g-451",
    "evidence": "photos/2027/17",
}
SHOWN = """number plate code description place district occurredAt notifiedOn state
  fine { amount { amount currency } norm dayFines wage { amount } wageNorm dayFinePercent dayFineNorm }
  debt(asOf: $asOf) { asOf amount { amount } overpaid { amount } explanation { fine rest adjustment percent norm days
    suspendedDays until exact payments { paidOn amount { amount } adjustment percent reducesBy settles } } }"""
OF_PLATE = f"""query($plate: String!, $asOf: Date) {{ infractionsOf(plate: $plate, first: 10) {{ nodes {{ {SHOWN} }} }}
  infractionPaymentPlaces {{ name address }} }}"""
FILE = """query($id: ID!) { infraction(id: $id) { id guard evidence public { plate state }
  contest { statement contestedOn outcome resolution norm resolvedOn }
  receipts { reference amount { amount } paidOn } collection { document sentOn } } }"""
_keys = count()


async def do(client: Client, login: Login, name: str, wants: str = "position", **fields: Any) -> dict[str, Any]:
    """The payload of one command."""
    kind = f"{name[0].upper()}{name[1:]}Input"
    query = f"mutation($input: {kind}!) {{ {name}(input: $input) {{ {wants} errors {{ code message path }} }} }}"
    client.act_as(login)
    fields = {"idempotencyKey": f"k{next(_keys)}", **fields}
    payload: dict[str, Any] = await client.data(query, input=fields)
    return payload


async def accepted(client: Client, login: Login, name: str, wants: str = "position", **fields: Any) -> dict[str, Any]:
    payload = await do(client, login, name, wants, **fields)
    assert payload["errors"] == []
    return payload


async def refusals(client: Client, login: Login, name: str, **fields: Any) -> list[tuple[str, list[str]]]:
    return [(error["code"], error["path"]) for error in (await do(client, login, name, **fields))["errors"]]


async def publish(client: Client) -> None:
    await accepted(client, FINANCE, "publishMinimumWage", **WAGE)
    await accepted(client, FINANCE, "publishInfractionCode", dayFines=3, **CODE)
    await accepted(client, FINANCE, "publishInfractionTerms", **TERMS)


async def issue(client: Client, **changed: Any) -> str:
    """The id of an infraction by the guard."""
    payload = await accepted(client, GUARD, "issueInfraction", "infraction { id }", **ISSUE | changed)
    found: str = payload["infraction"]["id"]
    return found


async def issued(client: Client) -> str:
    await publish(client)
    return await issue(client)


async def look_up(client: Client, plate: str = "1234ABC", as_of: str | None = None) -> list[dict[str, Any]]:
    """What somebody without a token sees."""
    client.act_as(None)
    found: list[dict[str, Any]] = (await client.data(OF_PLATE, plate=plate, asOf=as_of))["infractionsOf"]["nodes"]
    return found


async def owed(client: Client, as_of: str | None = None) -> str:
    (found,) = await look_up(client, as_of=as_of)
    amount: str = found["debt"]["amount"]["amount"]
    return amount


async def file(client: Client, login: Login, infraction: str) -> dict[str, Any]:
    client.act_as(login)
    found: dict[str, Any] = await client.data(FILE, id=infraction)
    return found


async def test_anybody_sees_the_infractions_of_a_plate_and_what_is_owed(client: Client) -> None:
    infraction = await issued(client)
    assert infraction.startswith("1234abc/")
    (found,) = await look_up(client, "1234-Abc")
    assert found == {
        "number": infraction,
        "plate": "1234ABC",
        "code": "t-12",
        "description": "Estacionar en la acera",
        "place": "Av. 16 de Julio 1490",
        "district": "Centro",
        "occurredAt": "2027-01-04T11:30:00Z",
        "notifiedOn": "2027-01-04",
        "state": "ISSUED",
        "fine": {
            "amount": {"amount": "412.52", "currency": "BOB"},
            "norm": "LM 015/2012",
            "dayFines": 3,
            "wage": {"amount": "2750.10"},
            "wageNorm": "DS 5500",
            "dayFinePercent": "5.00",
            "dayFineNorm": "Reglamento 428/2018",
        },
        "debt": {
            "asOf": "2027-01-04",
            "amount": {"amount": "206.26"},
            "overpaid": {"amount": "0.00"},
            "explanation": {
                "fine": "412.5150000000",
                "rest": "412.5150000000",
                "adjustment": "DISCOUNT",
                "percent": "50.00",
                "norm": "Reglamento 428/2018",
                "days": 0,
                "suspendedDays": 0,
                "until": "2027-01-09",
                "exact": "206.2575000000",
                "payments": [],
            },
        },
    }


async def test_a_debt_is_asked_for_any_day(client: Client) -> None:
    await issued(client)
    days = ["2027-01-09", "2027-01-10", "2027-01-15", "2027-02-03", "2027-02-04"]
    assert [await owed(client, day) for day in days] == ["206.26", "330.01", "412.52", "412.52", "453.77"]
    (before,) = await look_up(client, as_of="2027-01-03")
    assert before["debt"] is None


async def test_a_reader_with_a_calculator_gets_the_same_amount(client: Client) -> None:
    infraction = await issued(client)
    await accepted(
        client, FINANCE, "settleInfraction", infraction=infraction, amount="100", paidOn="2027-01-04", reference="R-1"
    )
    (found,) = await look_up(client, as_of="2027-03-01")
    explained = found["debt"]["explanation"]
    (part,) = explained["payments"]
    assert (part["adjustment"], part["percent"], part["settles"]) == ("DISCOUNT", "50.00", False)
    reduces_by = Decimal(part["amount"]["amount"]) / (1 - Decimal(part["percent"]) / 100)
    assert reduces_by == Decimal(part["reducesBy"])
    exact = (Decimal(explained["fine"]) - reduces_by) * (1 + Decimal(explained["percent"]) / 100)
    assert exact == Decimal(explained["exact"])
    assert str(exact.quantize(Decimal("0.01"), ROUND_HALF_UP)) == found["debt"]["amount"]["amount"] == "233.77"


async def test_the_latest_infraction_comes_first_and_other_plates_have_none(client: Client) -> None:
    first = await issued(client)
    later = await issue(client, occurredAt="2027-01-04T11:45:00Z")
    assert [one["number"] for one in await look_up(client)] == [later, first]
    assert await look_up(client, "4321XYZ") == []


async def test_places_of_payment_are_public(client: Client) -> None:
    places = [{"name": "Banco Unión", "address": "Calle Loayza 1"}, {"name": "Web", "address": "https://pagos.bo"}]
    payload = await accepted(
        client, FINANCE, "publishInfractionPaymentPlaces", "places { name address }", places=places
    )
    assert payload["places"] == places
    client.act_as(None)
    assert (await client.data(OF_PLATE, plate="1234ABC"))["infractionPaymentPlaces"] == places


async def test_what_is_published_is_public(client: Client) -> None:
    await publish(client)
    client.act_as(None)
    found = await client.data("""{ minimumWage { effectiveFrom amount { amount } norm }
      before: minimumWage(day: "2025-12-31") { norm } infractionTerms { norm dayFinePercent termDays penaltyPercent
      contestDays discounts { withinDays percent } } none: infractionTerms(day: "2025-12-31") { norm }
      infractionCode(code: "t-12") { id code meaning { description dayFines amount { amount } norm effectiveFrom }
      before: meaning(day: "2025-12-31") { norm } } }""")
    assert found["minimumWage"] == {**WAGE, "amount": {"amount": "2750.10"}}
    assert (found["before"], found["none"]) == (None, None)
    wanted = {name: TERMS[name] for name in ("norm", "termDays", "contestDays")}
    assert found["infractionTerms"] == {
        **wanted,
        "dayFinePercent": "5.00",
        "penaltyPercent": "10.00",
        "discounts": [{"withinDays": 5, "percent": "50.00"}, {"withinDays": 10, "percent": "20.00"}],
    }
    assert found["infractionCode"] == {
        "id": "infraction-code:t-12",
        "code": "t-12",
        "meaning": {
            "description": "Estacionar en la acera",
            "dayFines": 3,
            "amount": None,
            "norm": "LM 015/2012",
            "effectiveFrom": "2026-01-01",
        },
        "before": None,
    }


async def test_a_code_may_have_a_fixed_amount(client: Client) -> None:
    await publish(client)
    payload = await accepted(
        client, FINANCE, "publishInfractionCode", "infractionCode { meaning { dayFines amount { amount } } }",
        **CODE | {"code": "t-40", "amount": "300.00"},
    )  # fmt: skip
    assert payload["infractionCode"]["meaning"] == {"dayFines": None, "amount": {"amount": "300.00"}}
    await issue(client, code="t-40")
    assert await owed(client) == "150.00"


async def test_a_contest_stops_the_count_and_its_resolution_starts_it_again(client: Client, clock: Clock) -> None:
    infraction = await issued(client)
    clock.wait(3 * DAY_S)
    await accepted(client, CLERK, "contestInfraction", infraction=infraction, statement="Memorial 7")
    (found,) = await look_up(client, as_of="2027-06-01")
    assert (found["state"], found["debt"]["amount"]["amount"]) == ("CONTESTED", "206.26")
    assert (found["debt"]["explanation"]["days"], found["debt"]["explanation"]["suspendedDays"]) == (3, 145)
    clock.wait(10 * DAY_S)
    resolution = {
        "infraction": infraction,
        "outcome": "UPHELD",
        "resolution": "RA 9/2027",
        "norm": "LM 015/2012 art. 50",
    }
    await accepted(client, OFFICER, "resolveContest", **resolution)
    (found,) = await look_up(client)
    assert (found["state"], found["debt"]["explanation"]["until"]) == ("ISSUED", "2027-01-19")
    assert (await file(client, OFFICER, infraction))["contest"] == {
        "statement": "Memorial 7",
        "contestedOn": "2027-01-07",
        "outcome": "UPHELD",
        "resolution": "RA 9/2027",
        "norm": "LM 015/2012 art. 50",
        "resolvedOn": "2027-01-17",
    }


async def test_an_annulled_infraction_owes_nothing(client: Client) -> None:
    infraction = await issued(client)
    await accepted(
        client,
        FINANCE,
        "settleInfraction",
        infraction=infraction,
        amount="100.00",
        paidOn="2027-01-04",
        reference="R-1",
    )
    await accepted(client, CLERK, "contestInfraction", infraction=infraction, statement="Memorial 7")
    resolution = {"infraction": infraction, "outcome": "ANNULLED", "resolution": "RA 9/2027", "norm": "LM 015/2012"}
    await accepted(client, OFFICER, "resolveContest", **resolution)
    (found,) = await look_up(client)
    assert (found["state"], found["debt"]["amount"], found["debt"]["overpaid"]) == (
        "ANNULLED", {"amount": "0.00"}, {"amount": "100.00"},
    )  # fmt: skip


async def test_who_issued_an_infraction_does_not_resolve_its_contest(client: Client) -> None:
    await publish(client)
    both = Login(subject="both", roles=["transport_guard", "procedures_officer"])
    payload = await accepted(client, both, "issueInfraction", "infraction { id }", **ISSUE)
    infraction = payload["infraction"]["id"]
    await accepted(client, CLERK, "contestInfraction", infraction=infraction, statement="Memorial 7")
    resolution = {"infraction": infraction, "outcome": "ANNULLED", "resolution": "RA 9/2027", "norm": "LM 015/2012"}
    assert await refusals(client, both, "resolveContest", **resolution) == [("resolved_by_issuer", ["infraction"])]
    await accepted(client, OFFICER, "resolveContest", **resolution)


async def test_payments_settle_and_their_reversal_opens_again(client: Client) -> None:
    infraction = await issued(client)
    payment = {"infraction": infraction, "paidOn": "2027-01-04"}
    await accepted(client, FINANCE, "settleInfraction", amount="100.00", reference="R-1", **payment)
    assert await owed(client) == "106.26"
    await accepted(client, FINANCE, "settleInfraction", amount="106.26", reference="R-2", **payment)
    (found,) = await look_up(client, as_of="2037-01-01")
    assert (found["state"], found["debt"]["amount"]["amount"]) == ("PAID", "0.00")
    assert await refusals(client, CLERK, "contestInfraction", infraction=infraction, statement="Memorial 7") == [
        ("infraction_status_forbids", ["infraction"])
    ]
    await accepted(
        client, FINANCE, "reverseInfractionSettlement", infraction=infraction, reference="R-1", reason="cheque"
    )
    (found,) = await look_up(client)
    assert (found["state"], found["debt"]["amount"]["amount"]) == ("ISSUED", "100.00")
    assert (await file(client, FINANCE, infraction))["receipts"] == [
        {"reference": "R-2", "amount": {"amount": "106.26"}, "paidOn": "2027-01-04"}
    ]


async def test_what_is_unpaid_after_the_term_goes_to_collection(client: Client, clock: Clock) -> None:
    infraction = await issued(client)
    clock.wait(30 * DAY_S)
    early = await do(client, FINANCE, "sendToCollection", infraction=infraction, document="OC 3/2027")
    (error,) = early["errors"]
    assert error["code"] == "payment_term_not_over"
    assert "3 de febrero de 2027" in error["message"]
    clock.wait(DAY_S)
    await accepted(client, FINANCE, "sendToCollection", infraction=infraction, document="OC 3/2027")
    assert (await file(client, FINANCE, infraction))["collection"] == {"document": "OC 3/2027", "sentOn": "2027-02-04"}
    (found,) = await look_up(client)
    assert found["state"] == "IN_COLLECTION"


async def test_a_missing_wage_is_a_refusal_that_names_the_day(client: Client, core: Core) -> None:
    await accepted(client, FINANCE, "publishInfractionCode", dayFines=3, **CODE)
    await accepted(client, FINANCE, "publishInfractionTerms", **TERMS)
    head = await core.log.head()
    (error,) = (await do(client, GUARD, "issueInfraction", **ISSUE))["errors"]
    assert (error["code"], error["path"]) == ("minimum_wage_unknown", ["occurredAt"])
    assert "4 de enero de 2027" in error["message"]
    assert await core.log.head() == head


PAYMENT = {"infraction": f"1234abc/{'a' * 26}", "amount": "1", "paidOn": "2027-01-04", "reference": "R-1"}
WRONG: list[tuple[Login, str, dict[str, Any], tuple[str, list[str]]]] = [
    (FINANCE, "publishMinimumWage", WAGE | {"amount": "2750.105"}, ("invalid_input", ["amount"])),
    (FINANCE, "publishMinimumWage", WAGE | {"amount": "0"}, ("invalid_input", ["amount"])),
    (FINANCE, "publishMinimumWage", WAGE | {"norm": " "}, ("invalid_input", ["norm"])),
    (FINANCE, "publishInfractionCode", CODE, ("invalid_input", ["dayFines"])),
    (FINANCE, "publishInfractionCode", CODE | {"dayFines": 0}, ("invalid_input", ["dayFines"])),
    (FINANCE, "publishInfractionCode", CODE | {"dayFines": 1, "amount": "1"}, ("invalid_input", ["dayFines"])),
    (FINANCE, "publishInfractionTerms", TERMS | {"dayFinePercent": "0"}, ("invalid_input", ["dayFinePercent"])),
    (FINANCE, "publishInfractionTerms", TERMS | {"dayFinePercent": "100.01"}, ("invalid_input", ["dayFinePercent"])),
    (FINANCE, "publishInfractionTerms", TERMS | {"penaltyPercent": "10.005"}, ("invalid_input", ["penaltyPercent"])),
    (FINANCE, "publishInfractionTerms", TERMS | {"termDays": 9}, ("invalid_input", ["discounts"])),
    (FINANCE, "publishInfractionTerms", TERMS | {"termDays": -1}, ("invalid_input", ["termDays"])),
    (
        FINANCE,
        "publishInfractionTerms",
        TERMS | {"discounts": [{"withinDays": 5, "percent": "100"}]},
        ("invalid_input", ["discounts", "0", "percent"]),
    ),
    (GUARD, "issueInfraction", ISSUE | {"plate": "ABC 1234"}, ("invalid_input", ["plate"])),
    (GUARD, "issueInfraction", ISSUE | {"code": "t-99"}, ("infraction_code_unknown", ["code"])),
    (
        GUARD,
        "issueInfraction",
        ISSUE | {"occurredAt": "2027-01-04T12:00:01Z"},
        ("infraction_in_the_future", ["occurredAt"]),
    ),
    (GUARD, "issueInfraction", ISSUE | {"notifiedOn": "2027-01-03"}, ("invalid_input", ["notifiedOn"])),
    (FINANCE, "settleInfraction", PAYMENT, ("infraction_unknown", ["infraction"])),
    (FINANCE, "settleInfraction", PAYMENT | {"amount": "-1"}, ("invalid_input", ["amount"])),
    (FINANCE, "settleInfraction", PAYMENT | {"reference": ""}, ("invalid_input", ["reference"])),
]


@pytest.mark.parametrize(("login", "command", "fields", "refusal"), WRONG)
async def test_a_wrong_command_is_refused_and_changes_nothing(  # noqa: PLR0917
    client: Client, core: Core, login: Login, command: str, fields: dict[str, Any], refusal: tuple[str, list[str]]
) -> None:
    await publish(client)
    head = await core.log.head()
    assert await refusals(client, login, command, **fields) == [refusal]
    assert await core.log.head() == head


async def test_only_officers_see_the_guard_and_the_evidence(client: Client) -> None:
    infraction = await issued(client)
    for login in (GUARD, OFFICER, CLERK, FINANCE, Login(subject="a", roles=["auditor"]), DEVELOPER):
        found = await file(client, login, infraction)
        assert (found["id"], found["guard"], found["evidence"]) == (infraction, "g-451", "photos/2027/17")
    for outsider in (Login(subject="ana", identity="4820193"), None):
        client.act_as(outsider)
        answer = await client.ask(FILE, id=infraction)
        assert answer["data"] == {"infraction": None}
        assert answer["errors"][0]["extensions"]["code"] == ("forbidden" if outsider else "login_required")


async def test_nothing_public_says_who_the_guard_was(client: Client) -> None:
    infraction = await issued(client)
    await accepted(
        client,
        FINANCE,
        "settleInfraction",
        infraction=infraction,
        amount="1.00",
        paidOn="2027-01-04",
        reference="R-451",
    )
    client.act_as(None)
    fields = await client.data('{ __type(name: "PublicInfraction") { fields { name } } }')
    names = {one["name"] for one in fields["fields"]}
    assert names == {
        "number", "plate", "code", "description", "place", "district", "occurredAt", "state", "notifiedOn", "fine",
        "terms", "debt",
    }  # fmt: skip
    for hidden in ("g-451", "photos", "R-451"):
        assert hidden not in str(await look_up(client))


async def test_issuing_is_repeated_with_its_key(client: Client) -> None:
    await publish(client)
    once = await issue(client, idempotencyKey="once")
    assert await issue(client, idempotencyKey="once") == once
    assert len(await look_up(client)) == 1


LIST = """query($state: InfractionState!, $district: String) {
  infractions(state: $state, district: $district, first: 9) {
    nodes { infraction { id guard } public { district state } } } }"""
TOTALS = "{ infractionTotals { district state infractions fines { amount } paid { amount } } }"


async def test_officers_list_infractions_by_state_and_district(client: Client) -> None:
    first = await issued(client)
    second = await issue(client, district="Periférica", plate="999XYZ", occurredAt="2027-01-04T11:00:00Z")
    third = await issue(client, district="periferica", plate="888XYZ", occurredAt="2027-01-04T11:10:00Z")
    await accepted(
        client, FINANCE, "settleInfraction", infraction=third, amount="206.26", paidOn="2027-01-04", reference="R-1"
    )
    client.act_as(OFFICER)
    found = (await client.data(LIST, state="ISSUED"))["nodes"]
    assert [one["infraction"] for one in found] == [{"id": first, "guard": "g-451"}, {"id": second, "guard": "g-451"}]
    found = (await client.data(LIST, state="ISSUED", district="PERIFERICA"))["nodes"]
    assert [one["infraction"]["id"] for one in found] == [second]
    assert await client.data(TOTALS) == [
        {
            "district": "Centro",
            "state": "ISSUED",
            "infractions": 1,
            "fines": {"amount": "412.52"},
            "paid": {"amount": "0.00"},
        },
        {
            "district": "Periférica",
            "state": "ISSUED",
            "infractions": 1,
            "fines": {"amount": "412.52"},
            "paid": {"amount": "0.00"},
        },
        {
            "district": "periferica",
            "state": "PAID",
            "infractions": 1,
            "fines": {"amount": "412.52"},
            "paid": {"amount": "206.26"},
        },
    ]
    for login in (GUARD, CLERK):
        client.act_as(login)
        assert (await client.ask(LIST, state="ISSUED"))["errors"][0]["extensions"]["code"] == "forbidden"


async def test_a_malformed_district_is_refused(client: Client) -> None:
    answer = await client.ask(LIST, state="ISSUED", district="\0")
    assert answer["errors"][0]["extensions"] == {"code": "invalid_input", "path": ["district"]}
