"""Tax debts over the API: assessed, paid in part, explained, as of any day and as known at any position."""

import asyncio
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from api.graphql.obligations.published import Published
from domain.decider import build
from domain.obligations import interest
from domain.obligations.ufv import PublishUfv
from domain.people.representatives import ConfirmRepresentation, RequestRepresentation
from infra.gateways.keys import Login
from infra.log.committer import Committer
from infra.log.core import Core
from tests.api.conftest import Client
from tests.city import key, opaque, organisation, person

pytestmark = pytest.mark.anyio

HOUSE, OBLIGATION = "property-214775", "property-214775/year-2019"
UFV = {"2019-12-31": "2.33187", "2021-01-10": "2.35781", "2021-04-24": "2.36520"}
RATES = [{"percent": "4", "untilYear": 4}, {"percent": "6.00", "untilYear": 7}, {"percent": "10"}]
WINDOWS = [{"first": "2019-07-01", "last": "2019-08-31", "percent": "10"}]
SCALE = [
    {"above": "0", "excessAbove": "0", "fixed": "0", "percent": "0.35"},
    {"above": "200000.01", "excessAbove": "200000", "fixed": "700", "percent": "0.5"},
]
DEBT = """query($id: ID!, $asOf: Date, $knownAt: Position) { obligation(id: $id) { id tax year due norm
  assessed { amount currency } object { code owner { ... on Person { givenNames } } }
  taxpayer { ... on Person { givenNames } }
  settlements { reference amount { amount } paidOn }
  debt(asOf: $asOf, knownAt: $knownAt) { asOf amount { amount currency } overpaid { amount } explanation {
    formula taxNorm taxEvent due discountPercent unpaid ufvDue { day value event } ufvPaid { day value } taxInUfv rest
    factor exact interest { norm event } terms { windowsNorm windowsEvent windows { percent } }
    reductions { paidOn amount { amount } receipts { reference event } ufv { value } factor reducesBy settles }
    periods { first last days ratePercent factor } } } } }"""


async def do(client: Client, name: str, wants: str = "position", **fields: Any) -> dict[str, Any]:
    """The payload of one command."""
    kind = f"{name[0].upper()}{name[1:]}Input"
    query = f"mutation($input: {kind}!) {{ {name}(input: $input) {{ {wants} errors {{ code path message }} }} }}"
    content = {"idempotencyKey": opaque(f"{name}{fields}"), **fields}
    payload: dict[str, Any] = await client.data(query, input=content)
    return payload


async def accepted(client: Client, name: str, wants: str = "position", **fields: Any) -> dict[str, Any]:
    payload = await do(client, name, wants, **fields)
    assert payload["errors"] == []
    return payload


async def assessed(client: Client, core: Core) -> None:
    """A house of Ana's, its tax of 2019, the rates of the law, a discount window and some UFV."""
    await core.committer.submit(person("Ana", core), key("Ana"))
    await accepted(
        client, "registerTaxableObject", kind="PROPERTY", number="214.775", owner=opaque("Ana"), since="2015-03-01",
        cadastralCode="032-0123-0004-0000",
    )  # fmt: skip
    await accepted(client, "publishInterestRates", norm="Ley 812", effectiveFrom="2000-01-01", rates=RATES)
    await accepted(client, "publishDiscountWindows", tax="IPBI", year=2019, norm="LM 22", windows=WINDOWS)
    for day, value in UFV.items():
        await accepted(client, "publishUfv", day=day, value=value)
    payload = await accepted(
        client, "assessTax", "obligation { id assessed { amount } } position", object=HOUSE, year=2019,
        amount="5000.00", due="2019-12-31", norm="RM 5/2020",
    )  # fmt: skip
    assert payload["obligation"] == {"id": OBLIGATION, "assessed": {"amount": "5000.00"}}


async def pay(client: Client, amount: str, day: str, reference: str, **fields: Any) -> dict[str, Any]:
    return await accepted(
        client, "settleObligation", obligation=OBLIGATION, amount=amount, paidOn=day, reference=reference, **fields
    )


async def owed(client: Client, as_of: str, known_at: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = (await client.data(DEBT, id=OBLIGATION, asOf=as_of, knownAt=known_at))["debt"]
    return found


async def test_a_debt_is_explained_to_the_centavo(client: Client, core: Core) -> None:
    await assessed(client, core)
    payment = await pay(client, "2000", "2021-01-10", "R-1")
    shown = await client.data(DEBT, id=OBLIGATION, asOf="2021-04-24")
    assert {name: shown[name] for name in ("tax", "year", "due", "assessed", "settlements")} == {
        "tax": "IPBI", "year": 2019, "due": "2019-12-31", "assessed": {"amount": "5000.00", "currency": "BOB"},
        "settlements": [{"reference": "R-1", "amount": {"amount": "2000.00"}, "paidOn": "2021-01-10"}],
    }  # fmt: skip
    assert shown["object"] == {"code": HOUSE, "owner": {"givenNames": "Ana"}}
    assert shown["taxpayer"] == {"givenNames": "Ana"}
    debt = shown["debt"]
    assert debt["amount"] == {"amount": "3319.69", "currency": "BOB"}
    explained = debt["explanation"]
    assert (explained["taxNorm"], explained["interest"]["norm"]) == ("RM 5/2020", "Ley 812")
    assert explained["ufvPaid"] == {"day": "2021-04-24", "value": "2.36520"}
    assert [(one["days"], one["ratePercent"]) for one in explained["periods"]] == [(480, "4.00")]
    (part,) = explained["reductions"]
    assert part["receipts"] == [{"reference": "R-1", "event": payment["position"]}]
    assert explained["formula"] == "rest * factor * ufvPaid * (1 - discount)"
    # A reader with a calculator gets the same amount from what is shown.
    reduces_by = Decimal(part["amount"]["amount"]) / Decimal(part["ufv"]["value"]) / Decimal(part["factor"])
    rest = Decimal("5000.00") / Decimal(explained["ufvDue"]["value"]) - reduces_by
    again = rest * Decimal(explained["factor"]) * Decimal(explained["ufvPaid"]["value"])
    assert again.quantize(Decimal("0.01"), ROUND_HALF_UP) == Decimal("3319.69")


async def test_each_figure_names_its_event(client: Client, core: Core) -> None:
    await assessed(client, core)
    explained = (await owed(client, "2021-04-24"))["explanation"]
    events = [explained["interest"], explained["ufvDue"]]
    positions = [one["event"] for one in events] + [explained["terms"]["windowsEvent"], explained["taxEvent"]]
    names = [(await core.log.since(int(position) - 1))[0].name for position in positions]
    assert names == [
        "interest_rates_published.v1", "ufv_published.v1", "discount_windows_published.v1", "tax_assessed.v1"
    ]  # fmt: skip


async def test_a_discount_window_is_explained_and_can_be_moved(client: Client, core: Core) -> None:
    await assessed(client, core)
    inside = await owed(client, "2019-08-15")
    assert (inside["amount"]["amount"], inside["explanation"]["discountPercent"]) == ("4500.00", "10.00")
    assert inside["explanation"]["formula"] == "unpaid * (1 - discount)"
    assert (await owed(client, "2019-09-15"))["amount"]["amount"] == "5000.00"
    moved = [{"first": "2019-07-01", "last": "2019-09-30", "percent": "10"}]
    await accepted(client, "publishDiscountWindows", tax="IPBI", year=2019, norm="LM 23", windows=moved)
    assert (await owed(client, "2019-09-15"))["amount"]["amount"] == "4500.00"
    assert (await owed(client, "2019-08-15"))["amount"] == inside["amount"]


async def test_an_amnesty_is_explained(client: Client, core: Core) -> None:
    await assessed(client, core)
    declared = await accepted(
        client, "declareAmnesty", "amnesty { norm event } position", tax="IPBI", norm="LAM 460", firstYear=2012,
        lastYear=2019, windows=[{"first": "2021-01-01", "last": "2021-03-31", "percent": "10"}],
    )  # fmt: skip
    assert declared["amnesty"] == {"norm": "LAM 460", "event": declared["position"]}
    query = f"""{{ obligation(id: "{OBLIGATION}") {{ debt(asOf: "2021-01-10") {{ amount {{ amount }} explanation {{
      discountPercent factor interest {{ norm }} periods {{ days }} amnesty {{ norm waivesInterest waivesIndexation }}
    }} }} }} }}"""
    shown = (await client.data(query))["debt"]
    assert shown["amount"] == {"amount": "4550.06"}  # 5000 / 2.33187 * 2.35781 * 0.9
    assert shown["explanation"] == {
        "discountPercent": "10.00", "factor": "1.000000000000000", "interest": None, "periods": [],
        "amnesty": {"norm": "LAM 460", "waivesInterest": True, "waivesIndexation": False},
    }  # fmt: skip


async def test_a_general_extension_moves_the_due_date_to_a_worked_day(client: Client, core: Core) -> None:
    await assessed(client, core)
    await accepted(client, "publishHolidays", year=2021, norm="DS 2750", days=["2021-01-11"])
    await accepted(client, "extendPaymentTerm", tax="IPBI", year=2019, norm="DM 8", until="2021-01-09")
    extended = await owed(client, "2021-01-10")
    assert (extended["amount"]["amount"], extended["explanation"]["due"]) == ("5000.00", "2021-01-12")


async def test_a_corrected_ufv_leaves_earlier_answers_reproducible(client: Client, core: Core) -> None:
    await assessed(client, core)
    before = await owed(client, "2021-01-10")
    assert before["amount"]["amount"] == "5271.30"
    corrected = await accepted(client, "publishUfv", day="2021-01-10", value="2.35800")
    assert (await owed(client, "2021-01-10"))["amount"]["amount"] == "5271.72"
    known_at = str(int(corrected["position"]) - 1)
    assert await owed(client, "2021-01-10", known_at) == before
    assert await owed(client, "2021-01-10", "1") is None  # nothing was assessed yet


async def test_a_missing_ufv_is_an_error_that_names_the_day(client: Client, core: Core) -> None:
    await assessed(client, core)
    answer = await client.ask(DEBT, id=OBLIGATION, asOf="2021-02-01", language="en")
    assert answer["data"]["obligation"]["debt"] is None
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["obligation", "debt"], "ufv_unknown")
    assert "1 February 2021" in error["message"]


async def test_a_receipt_counts_once_and_a_reversed_one_never_again(client: Client, core: Core) -> None:
    await assessed(client, core)
    for attempt in ("a", "b"):
        await pay(client, "100.00", "2019-12-01", "R-1", idempotencyKey=attempt)
    assert (await owed(client, "2019-12-31"))["amount"]["amount"] == "4900.00"
    await accepted(client, "reverseSettlement", obligation=OBLIGATION, reference="R-1", reason="cheque sin fondos")
    assert (await owed(client, "2019-12-31"))["amount"]["amount"] == "5000.00"
    refused = await do(
        client, "settleObligation", obligation=OBLIGATION, amount="100.00", paidOn="2019-12-01", reference="R-1"
    )
    assert [(error["code"], error["path"]) for error in refused["errors"]] == [("reference_used", ["reference"])]


async def test_an_amendment_needs_a_second_person(client: Client, core: Core) -> None:
    await assessed(client, core)
    client.act_as(Login(subject="eva", roles=["finance_supervisor"]))
    proposed = await accepted(
        client, "proposeAmendment", "amendment position", obligation=OBLIGATION, amount="4000", norm="ARIT 77",
        reason="fallo",
    )  # fmt: skip
    decision = {"obligation": OBLIGATION, "amendment": proposed["amendment"]}
    refused = await do(client, "approveAmendment", **decision)
    assert [error["code"] for error in refused["errors"]] == ["proposed_by_yourself"]
    assert (await owed(client, "2019-12-31"))["amount"]["amount"] == "5000.00"
    client.act_as(Login(subject="luz", roles=["finance_supervisor"]))
    await accepted(client, "approveAmendment", **decision)
    amended = await owed(client, "2019-12-31")
    assert (amended["amount"]["amount"], amended["explanation"]["taxNorm"]) == ("4000.00", "ARIT 77")
    assert (await owed(client, "2019-12-31", proposed["position"]))["amount"]["amount"] == "5000.00"
    late = await do(client, "rejectAmendment", **decision)
    assert [error["code"] for error in late["errors"]] == ["amendment_decided"]


async def test_a_tax_follows_from_its_base_by_the_scale_of_its_year(client: Client, core: Core) -> None:
    await assessed(client, core)
    await accepted(client, "publishScale", tax="IPBI", fromYear=2015, norm="Ley 843", steps=SCALE)
    payload = await accepted(
        client, "assessTax", "obligation { assessed { amount } base { amount } }", object=HOUSE, year=2018,
        base="200001", due="2019-12-31", norm="RM 5/2020",
    )  # fmt: skip
    assert payload["obligation"] == {"assessed": {"amount": "700.01"}, "base": {"amount": "200001.00"}}


async def test_the_tax_falls_on_the_owner_of_the_last_day_of_the_year(client: Client, core: Core) -> None:
    await assessed(client, core)
    await core.committer.submit(person("Luis", core, ci="4820194"), key("Luis"))
    await accepted(
        client, "transferOwnership", object=HOUSE, owner=opaque("Luis"), since="2020-06-01", deed="Testimonio 14"
    )
    await accepted(client, "assessTax", object=HOUSE, year=2020, amount="10", due="2021-12-31", norm="RM 5")
    listed = """query($id: ID!) { obligations(taxpayer: $id, first: 5) {
      nodes { year taxpayer { ... on Person { givenNames } } } } }"""
    assert await client.data(listed, id=opaque("Ana")) == {"nodes": [{"year": 2019, "taxpayer": {"givenNames": "Ana"}}]}
    assert await client.data(listed, id=opaque("Luis")) == {
        "nodes": [{"year": 2020, "taxpayer": {"givenNames": "Luis"}}]
    }
    owned = "query($id: ID!) { taxableObjects(owner: $id, first: 5) { nodes { code owners { since } } } }"
    assert await client.data(owned, id=opaque("Ana")) == {"nodes": []}
    assert await client.data(owned, id=opaque("Luis")) == {
        "nodes": [{"code": HOUSE, "owners": [{"since": "2015-03-01"}, {"since": "2020-06-01"}]}]
    }


@pytest.mark.parametrize(
    "query",
    [
        '{ taxableObjectByNumber(kind: PROPERTY, number: "00214-775") { code } }',
        '{ taxableObjectByCadastralCode(cadastralCode: "032.0123.0004.0000") { code } }',
        '{ taxableObjectByCadastralCode(cadastralCode: "032 0123 00040000") { code } }',
    ],
)
async def test_objects_are_found_by_number_in_any_spelling(client: Client, core: Core, query: str) -> None:
    await assessed(client, core)
    assert await client.data(query) == {"code": HOUSE}


async def test_an_unknown_number_finds_nothing_and_a_malformed_one_is_refused(client: Client) -> None:
    by_plate = "query($p: String!) { taxableObjectByNumber(kind: VEHICLE, number: $p) { code } }"
    assert await client.data(by_plate, p="1234 abc") is None
    (error,) = (await client.ask(by_plate, p="12 ab"))["errors"]
    assert error["extensions"]["code"] == "invalid_input"


TAX = {"object": HOUSE, "year": 2019, "amount": "1", "due": "2019-12-31", "norm": "x"}
PAID = {"obligation": OBLIGATION, "reference": "R-1"}
PAYMENT = {"amount": "1", "paidOn": "2020-01-01"}
TABLE = {"norm": "x", "effectiveFrom": "2000-01-01"}
CAR = {"kind": "VEHICLE", "number": "1234ABC", "owner": opaque("Ana"), "since": "2020-01-01"}
LAND = {"kind": "PROPERTY", "number": "9", "owner": opaque("Ana"), "since": "2020-01-01"}
DEED = {"object": HOUSE, "owner": opaque("Ana"), "deed": "x"}
IN_2019 = {"tax": "IPBI", "year": 2019, "norm": "x"}
FROM_2019 = {"tax": "IPBI", "fromYear": 2019, "norm": "x"}
PARDON = {"tax": "IPBI", "norm": "x", "firstYear": 2012, "lastYear": 2019}
OVERLAPPING = [*WINDOWS, {"first": "2019-08-31", "last": "2019-09-30", "percent": "5"}]
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("publishUfv", {"day": "2021-01-01", "value": "2.358511"}, "invalid_input value"),
    ("publishUfv", {"day": "2021-01-01", "value": "0"}, "invalid_input value"),
    ("publishUfv", {"day": "2021-01-01", "value": "-1"}, "invalid_input value"),
    ("publishInterestRates", TABLE | {"rates": RATES[::-1]}, "invalid_input rates"),
    ("publishInterestRates", TABLE | {"rates": []}, "invalid_input rates"),
    ("publishInterestRates", TABLE | {"rates": [{"percent": "4.001"}]}, "invalid_input rates 0 percent"),
    ("publishInterestRates", TABLE | {"rates": [*RATES[:2], {"percent": "400"}]}, "invalid_input rates 2 percent"),
    ("publishUfv", {"day": "2021-01-01", "value": "10000"}, "invalid_input value"),
    ("publishUfv", {"day": "9999-12-31", "value": "2"}, "invalid_input day"),
    ("publishDiscountWindows", IN_2019 | {"windows": OVERLAPPING}, "invalid_input windows"),
    (
        "publishDiscountWindows",
        IN_2019 | {"windows": [WINDOWS[0] | {"percent": "100"}]},
        "invalid_input windows 0 percent",
    ),
    (
        "publishDiscountWindows",
        IN_2019 | {"windows": [WINDOWS[0] | {"percent": "-1"}]},
        "invalid_input windows 0 percent",
    ),
    ("declareAmnesty", PARDON | {"lastYear": 2011, "windows": WINDOWS}, "invalid_input lastYear"),
    ("declareAmnesty", PARDON | {"windows": OVERLAPPING}, "invalid_input windows"),
    ("declareAmnesty", PARDON | {"windows": []}, "invalid_input windows"),
    ("publishScale", {"tax": "IPBI", "fromYear": 2019, "norm": "x", "steps": SCALE[1:]}, "invalid_input steps"),
    (
        "publishScale",
        {"tax": "IPBI", "fromYear": 2019, "norm": "x", "steps": [SCALE[0] | {"fixed": "-1"}]},
        "invalid_input steps 0 fixed",
    ),
    ("publishHolidays", {"year": 2019, "norm": "x", "days": ["2020-01-01"]}, "invalid_input days"),
    ("assessTax", TAX | {"amount": "5000.005"}, "invalid_input amount"),
    ("assessTax", TAX | {"amount": "0", "year": 2018}, "invalid_input amount"),
    ("assessTax", TAX | {"amount": None}, "invalid_input amount"),
    ("assessTax", TAX | {"base": "5", "amount": None}, "scale_unknown base"),
    ("assessTax", TAX | {"year": 2020}, "invalid_input year"),
    ("assessTax", TAX, "already_assessed year"),
    ("assessTax", TAX | {"object": "property-2"}, "taxable_object_unknown object"),
    ("settleObligation", PAID | PAYMENT | {"obligation": "property-2/year-2019"}, "obligation_unknown obligation"),
    ("settleObligation", PAID | PAYMENT | {"amount": "-1"}, "invalid_input amount"),
    ("settleObligation", PAID | PAYMENT | {"paidOn": "2027-01-05"}, "in_the_future paidOn"),
    ("settleObligation", PAID | PAYMENT | {"reference": ""}, "invalid_input reference"),
    ("reverseSettlement", PAID | {"reason": "x"}, "settlement_unknown reference"),
    ("approveAmendment", {"obligation": OBLIGATION, "amendment": opaque("a")}, "amendment_unknown amendment"),
    ("registerTaxableObject", LAND | {"number": "214775"}, "taxable_object_exists number"),
    ("registerTaxableObject", LAND | {"cadastralCode": "032012300040000"}, "cadastral_code_in_use cadastralCode"),
    ("registerTaxableObject", LAND | {"cadastralCode": "1"}, "invalid_input cadastralCode"),
    ("registerTaxableObject", CAR | {"cadastralCode": "9999999"}, "only_properties cadastralCode"),
    ("registerTaxableObject", CAR | {"number": "ABC"}, "invalid_input number"),
    ("registerTaxableObject", CAR | {"since": "2027-01-05"}, "in_the_future since"),
    ("registerTaxableObject", CAR | {"owner": opaque("Luis")}, "person_unknown owner"),
    ("transferOwnership", DEED | {"since": "2015-03-01", "deed": ""}, "invalid_input deed"),
    ("transferOwnership", DEED | {"since": "2015-02-28"}, "transfer_too_early since"),
    ("transferOwnership", DEED | {"since": "2027-01-05"}, "in_the_future since"),
]


async def test_a_wrong_command_is_refused_and_changes_nothing(client: Client, core: Core) -> None:
    await assessed(client, core)
    before = await core.log.head()
    for command, fields, refusal in WRONG:
        refused = await do(client, command, **fields)
        shown = [" ".join([error["code"], *error["path"]]) for error in refused["errors"]]
        assert shown == [refusal], (command, fields)
        assert await core.log.head() == before


async def test_an_owner_sees_their_own_debts_and_nobody_else_does(client: Client, core: Core) -> None:
    await assessed(client, core)
    query = f"""{{ taxableObject(code: "{HOUSE}") {{ id kind obligations(first: 5) {{ nodes {{ year
      debt(asOf: "2019-12-31") {{ amount {{ amount }} }} }} }} }} }}"""
    client.act_as(Login(subject="ana", identity="4820193"))
    assert await client.data(query) == {
        "id": f"taxable-object:{HOUSE}", "kind": "PROPERTY",
        "obligations": {"nodes": [{"year": 2019, "debt": {"amount": {"amount": "5000.00"}}}]},
    }  # fmt: skip
    client.act_as(Login(subject="luis", identity="4820194"))
    for asked in (
        query,
        f'{{ obligation(id: "{OBLIGATION}") {{ id }} }}',
        '{ taxableObjectByNumber(kind: PROPERTY, number: "214775") { id } }',
        f'{{ obligations(taxpayer: "{opaque("Ana")}", first: 1) {{ nodes {{ id }} }} }}',
    ):
        assert (await client.ask(asked))["errors"][0]["extensions"]["code"] == "forbidden"
    client.act_as(Login(subject="officer", roles=["finance_officer"]))
    assert (await client.data(query))["kind"] == "PROPERTY"


async def test_a_representative_sees_what_the_organisation_owes(client: Client, core: Core) -> None:
    await assessed(client, core)
    cooperative = organisation("Illimani", core)
    pair = {"organisation": cooperative.organisation, "representative": opaque("Ana")}
    for command in (
        cooperative,
        build(RequestRepresentation, **pair, requested_by=opaque("clerk")),
        build(ConfirmRepresentation, **pair, confirmed_by=opaque("officer")),
    ):
        await core.committer.submit(command, key(str(command)))
    owner = cooperative.organisation
    await accepted(client, "registerTaxableObject", kind="ACTIVITY", number="1310-2", owner=owner, since="2018-01-01")
    await accepted(client, "assessTax", object="activity-13102", year=2019, amount="70", due="2019-12-31", norm="RM 5")
    query = """query($id: ID!) { obligations(taxpayer: $id, first: 5) { nodes { tax
      taxpayer { ... on Organisation { name } } debt(asOf: "2019-12-31") { amount { amount } } } } }"""
    client.act_as(Login(subject="ana", identity="4820193"))
    assert await client.data(query, id=owner) == {
        "nodes": [{
            "tax": "PATENTE", "taxpayer": {"name": "Cooperativa Illimani"}, "debt": {"amount": {"amount": "70.00"}},
        }]
    }  # fmt: skip
    client.act_as(Login(subject="luis", identity="4820194"))
    assert (await client.ask(query, id=owner))["errors"][0]["extensions"]["code"] == "forbidden"


async def test_a_former_owner_sees_their_own_years_alone(client: Client, core: Core) -> None:
    await assessed(client, core)
    await core.committer.submit(person("Luis", core, ci="4820194"), key("Luis"))
    await accepted(
        client, "transferOwnership", object=HOUSE, owner=opaque("Luis"), since="2020-06-01", deed="Testimonio 14"
    )
    await accepted(client, "assessTax", object=HOUSE, year=2020, amount="10", due="2021-12-31", norm="RM 5")
    await accepted(client, "proposeAmendment", obligation=OBLIGATION, amount="1", norm="x", reason="denuncia")
    of_year = "query($id: ID!) { obligation(id: $id) { year amendments { reason } } }"
    of_house = f'{{ taxableObject(code: "{HOUSE}") {{ number obligations(first: 5) {{ nodes {{ year }} }} }} }}'
    later = OBLIGATION.replace("2019", "2020")
    client.act_as(Login(subject="ana", identity="4820193"))
    assert await client.data(of_year, id=OBLIGATION) == {"year": 2019, "amendments": None}
    assert (await client.ask(of_year, id=later))["errors"][0]["extensions"]["code"] == "forbidden"
    answer = await client.ask(of_house)
    assert answer["data"]["taxableObject"] == {"number": "214775", "obligations": None}
    assert answer["errors"][0]["extensions"]["code"] == "forbidden"
    client.act_as(Login(subject="luis", identity="4820194"))  # the present owner sees all years: they go with the house
    assert [(await client.data(of_year, id=one))["year"] for one in (OBLIGATION, later)] == [2019, 2020]
    assert await client.data(of_house) == {
        "number": "214775", "obligations": {"nodes": [{"year": 2019}, {"year": 2020}]}
    }  # fmt: skip
    client.act_as(Login(subject="officer", roles=["finance_officer"]))
    assert await client.data(of_year, id=OBLIGATION) == {"year": 2019, "amendments": [{"reason": "denuncia"}]}


async def test_a_cancelled_question_does_not_stop_those_that_share_its_load(client: Client, core: Core) -> None:
    """A missing UFV cancels the sibling fields of a query: until now this could stop all debts of the process."""
    await assessed(client, core)
    query = f"""{{ a: accountStatement(taxpayer: "{opaque("Ana")}", asOf: "2030-01-01") {{ owed {{ amount }} }}
      b: obligation(id: "{OBLIGATION}") {{ debt(asOf: "2021-01-10") {{ amount {{ amount }} }} }} }}"""
    for _ in range(20):
        assert (await client.ask(query))["errors"][0]["extensions"]["code"] == "ufv_unknown"
    published = client.services.of(Published)
    wanted = frozenset([interest.stream()])
    for turns in range(4):
        cancelled = asyncio.create_task(published.states(wanted))
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled.cancel()
        async with asyncio.timeout(5):
            assert (await published.states(wanted))[interest.stream()].version == 1


async def test_a_position_beyond_the_log_is_refused(client: Client, core: Core) -> None:
    await assessed(client, core)
    answer = await client.ask(DEBT, id=OBLIGATION, asOf="2021-01-10", knownAt="999999999999999999")
    assert answer["errors"][0]["extensions"] == {"code": "invalid_input", "path": ["knownAt"]}


async def test_everybody_reads_what_norms_decree(client: Client, core: Core) -> None:
    await assessed(client, core)
    await accepted(client, "publishScale", tax="IPBI", fromYear=2015, norm="Ley 843", steps=SCALE)
    await accepted(client, "publishHolidays", year=2021, norm="DS 2750", days=["2021-01-22"])
    client.act_as(None)
    shown = await client.data("""{ ufvQuotes(year: 2021) { day value }
      interestRates { norm rates { percent untilYear } }
      taxYear(tax: IPBI, year: 2019) { windows { first last percent } extendedUntil } holidays(year: 2021) { days }
      scales(tax: IPBI) { fromYear steps { above { amount } fixed { amount } percent } } }""")
    assert shown["ufvQuotes"] == [
        {"day": "2021-01-10", "value": "2.35781"}, {"day": "2021-04-24", "value": "2.36520"}
    ]  # fmt: skip
    assert shown["interestRates"][0]["rates"][2] == {"percent": "10.00", "untilYear": None}
    assert shown["taxYear"] == {"windows": [WINDOWS[0] | {"percent": "10.00"}], "extendedUntil": None}
    assert shown["holidays"] == {"days": ["2021-01-22"]}
    assert shown["scales"][0]["steps"][1] == {
        "above": {"amount": "200000.01"}, "fixed": {"amount": "700.00"}, "percent": "0.50"
    }  # fmt: skip


async def test_a_statement_sums_up_what_somebody_owes(client: Client, core: Core) -> None:
    await assessed(client, core)
    await accepted(
        client, "registerTaxableObject", kind="VEHICLE", number="1234ABC", owner=opaque("Ana"), since="2018-01-01"
    )
    for taxed, year, due in ((HOUSE, 2020, "2021-12-31"), ("vehicle-1234abc", 2019, "2019-12-31")):
        await accepted(client, "assessTax", object=taxed, year=year, amount="100.10", due=due, norm="x")
    query = """query($id: ID!) { accountStatement(taxpayer: $id, asOf: "2021-01-10") {
      taxpayer { ... on Person { givenNames } } asOf
      owed { amount } overdue { amount } byYear { year owed { amount } }
      byObject { object { code } owed { amount } } } }"""
    assert await client.data(query, id=opaque("Ana")) == {
        "taxpayer": {"givenNames": "Ana"}, "asOf": "2021-01-10",
        "owed": {"amount": "5476.93"}, "overdue": {"amount": "5376.83"},
        "byYear": [{"year": 2019, "owed": {"amount": "5376.83"}}, {"year": 2020, "owed": {"amount": "100.10"}}],
        "byObject": [
            {"object": {"code": HOUSE}, "owed": {"amount": "5371.40"}},
            {"object": {"code": "vehicle-1234abc"}, "owed": {"amount": "105.53"}},
        ],
    }  # fmt: skip
    assert await client.data(query, id=opaque("Luis")) is None  # nobody is registered with this id
    await core.committer.submit(person("Luis", core, ci="4820194"), key("Luis"))
    assert (await client.data(query, id=opaque("Luis")))["owed"] == {"amount": "0.00"}
    missing = query.replace("2021-01-10", "2021-01-11")
    (error,) = (await client.ask(missing, id=opaque("Ana")))["errors"]
    assert error["extensions"]["code"] == "ufv_unknown"


async def test_debts_of_a_page_are_read_together(client: Client, core: Core, counted: list[Any]) -> None:
    await assessed(client, core)
    for year in range(2014, 2019):
        await accepted(client, "assessTax", object=HOUSE, year=year, amount="10", due="2019-12-31", norm="x")
    query = f"""query($count: Int!) {{ taxableObject(code: "{HOUSE}") {{ obligations(first: $count) {{
      nodes {{ debt(asOf: "2021-04-24") {{ amount {{ amount }} }} }} }} }} }}"""
    statements = {}
    for count in (1, 6, 6):
        counted.clear()
        shown = await client.data(query, count=count)
        assert len(shown["obligations"]["nodes"]) == count
        statements[count] = len(counted)
    assert statements[1] == statements[6]


async def test_a_debt_is_never_older_than_what_another_process_published(
    client: Client, core: Core, other_committer: Committer
) -> None:
    await assessed(client, core)
    assert (await owed(client, "2021-01-10"))["amount"]["amount"] == "5271.30"
    await other_committer.submit(build(PublishUfv, day=date(2021, 1, 10), value=235_800), key("corrected"))
    assert (await owed(client, "2021-01-10"))["amount"]["amount"] == "5271.72"


async def test_asking_each_day_changes_nothing(client: Client, core: Core) -> None:
    await assessed(client, core)
    head = await core.log.head()
    answers = {day: (await owed(client, day))["amount"]["amount"] for day in ("2019-06-01", "2021-01-10", "2021-04-24")}
    assert {day: (await owed(client, day))["amount"]["amount"] for day in answers} == answers
    assert await core.log.head() == head
