"""Webhooks over GraphQL: registering, the secret, what became of deliveries, sending again."""

from datetime import datetime
from typing import Any

import pytest

from domain.decider import build
from domain.queues.opening import CloseLine
from domain.queues.turns import AskNotice
from domain.webhooks.delivery import RecordAttempt
from infra.gateways.keys import Login
from infra.log.core import Core
from infra.reactions.webhooks import secret_text
from tests.api.conftest import Client
from tests.city import key
from tests.waiting_log import LINE, open_line, take

pytestmark = pytest.mark.anyio

REGISTER = """mutation ($input: RegisterWebhookInput!) { registerWebhook(input: $input) {
    webhook { id code name url kinds generation } secret position errors { code path message } } }"""
REMOVE = "mutation ($input: RemoveWebhookInput!) { removeWebhook(input: $input) { removedId errors { code path } } }"
RESEND = """mutation ($input: ResendDeliveryInput!) { resendDelivery(input: $input) {
    deliveryId position errors { code path } } }"""
WEBHOOKS = "{ webhooks { id url kinds generation } }"
DELIVERIES = """query ($state: DeliveryState, $after: String, $first: Int!, $atLeast: Position) {
    deliveries(webhook: "sms", state: $state, after: $after, first: $first, atLeast: $atLeast) {
    nodes { id position kind happenedAt state attempts nextAt history { at status error } }
    pageInfo { endCursor hasNextPage } } }"""
SMS = {"webhook": "sms", "name": "SMS", "url": "https://sms.example.org/hook", "kinds": ["NOTICE_GIVEN", "LINE_CLOSED"]}


async def register(client: Client, name: str = "k", **changed: Any) -> Any:
    return await client.data(REGISTER, input={"idempotencyKey": name, **SMS, **changed})


async def attempt(core: Core, delivery: str, number: int, **said: Any) -> None:
    await core.committer.submit(
        build(RecordAttempt, delivery=delivery, attempt=number, **said), key(f"{delivery} {number}")
    )


async def test_the_secret_is_returned_at_registration_and_repeats(client: Client, core: Core) -> None:
    client.act_as(Login(subject="boss", roles=["administrator"]))
    told = await register(client)
    assert told["errors"] == []
    assert told["webhook"] == {
        "id": "webhook:sms", "code": "sms", "name": "SMS", "url": SMS["url"],
        "kinds": ["LINE_CLOSED", "NOTICE_GIVEN"], "generation": 1,
    }  # fmt: skip
    assert told["secret"] == secret_text(core.secret, "sms", 1)
    assert await register(client) == told
    rotated = await register(client, "k2", generation=2)
    assert rotated["secret"] == secret_text(core.secret, "sms", 2) != told["secret"]
    assert await client.data(WEBHOOKS) == [
        {"id": "webhook:sms", "url": SMS["url"], "kinds": ["LINE_CLOSED", "NOTICE_GIVEN"], "generation": 2}
    ]


async def test_a_request_without_a_change_returns_no_secret(client: Client, core: Core) -> None:
    client.act_as(Login(subject="boss", roles=["administrator"]))
    told = await register(client)
    nothing = {**told, "secret": None}
    assert await register(client, "k2") == nothing
    client.act_as(Login(subject="another", roles=["administrator"]))
    for name in ("k", "k", "k3", "k3"):  # repeated, too: what it repeats changed nothing
        assert await register(client, name) == nothing
    assert (await register(client, "k4", kinds=["LINE_CLOSED"]))["secret"] == told["secret"]
    client.act_as(Login(subject="boss", roles=["administrator"]))
    assert await register(client) == told


async def test_no_secret_is_in_the_log(client: Client, core: Core) -> None:
    told = await register(client)
    stored = b"".join(entry.state for entry in await core.log.since(0))
    assert b"sms.example.org" in stored
    assert told["secret"].removeprefix("whsec_").encode() not in stored
    assert b"whsec_" not in stored


async def test_errors_are_in_the_client_s_language(client: Client) -> None:
    wrong = SMS | {"idempotencyKey": "k", "url": "http://sms.example.org"}
    for language, begin in (("es", "Dato no válido: la dirección"), ("en", "Invalid value: a webhook's URL")):
        told = (await client.ask(REGISTER, language=language, input=wrong))["data"]["registerWebhook"]
        (error,) = told["errors"]
        assert (error["code"], error["path"]) == ("invalid_input", ["url"])
        assert error["message"].startswith(begin)
        assert told["secret"] is None


async def test_deliveries_are_shown_page_by_page_from_the_last_on(client: Client, core: Core, clock: Any) -> None:
    await open_line(core)
    await register(client)
    positions = []
    for name in ("ana", "luis", "eva"):
        turn = await take(core, name)
        asked = await core.committer.submit(build(AskNotice, turn=turn, ahead=100), key(f"ask {name}"))
        positions.append(asked.position)
    closed = await core.committer.submit(build(CloseLine, line=LINE), key("close"))
    await attempt(core, f"sms/{positions[0]}", 1, status=500)
    await attempt(core, f"sms/{positions[0]}", 2, error="timeout")
    await attempt(core, f"sms/{positions[1]}", 1, status=200)
    await attempt(core, f"sms/{positions[2]}", 1, status=410)
    first = await client.data(DELIVERIES, first=3)
    rest = await client.data(DELIVERIES, first=3, after=first["pageInfo"]["endCursor"])
    assert (first["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)
    nodes = first["nodes"] + rest["nodes"]
    assert [(node["id"], node["kind"], node["state"], node["attempts"]) for node in nodes] == [
        (f"sms/{closed.position}", "LINE_CLOSED", "PENDING", 0),
        (f"sms/{positions[2]}", "NOTICE_GIVEN", "GIVEN_UP", 1),
        (f"sms/{positions[1]}", "NOTICE_GIVEN", "DELIVERED", 1),
        (f"sms/{positions[0]}", "NOTICE_GIVEN", "PENDING", 2),
    ]
    assert nodes[0]["nextAt"] == nodes[0]["happenedAt"] == "2027-01-04T12:00:00Z"
    assert [(one["status"], one["error"]) for one in nodes[3]["history"]] == [(500, None), (None, "timeout")]
    assert nodes[1]["nextAt"] is None
    for state, count in (("PENDING", 2), ("DELIVERED", 1), ("GIVEN_UP", 1)):
        found = (await client.data(DELIVERIES, first=9, state=state))["nodes"]
        assert [node["state"] for node in found] == [state] * count


async def test_a_given_up_delivery_can_be_resent(client: Client, core: Core) -> None:
    await open_line(core)
    await register(client)
    closed = await core.committer.submit(build(CloseLine, line=LINE), key("close"))
    delivery = f"sms/{closed.position}"
    unknown = await client.data(RESEND, input={"idempotencyKey": "r0", "delivery": delivery})
    assert unknown["errors"] == [{"code": "delivery_unknown", "path": ["delivery"]}]
    await attempt(core, delivery, 1, status=410)
    asked = await client.data(RESEND, input={"idempotencyKey": "r1", "delivery": delivery})
    assert (asked["deliveryId"], asked["errors"]) == (delivery, [])
    (shown,) = (await client.data(DELIVERIES, first=9, atLeast=asked["position"]))["nodes"]
    assert (shown["state"], shown["attempts"]) == ("PENDING", 1)


async def test_a_removed_webhook_gets_and_shows_nothing(client: Client, core: Core) -> None:
    await open_line(core)
    await register(client)
    await core.committer.submit(build(CloseLine, line=LINE), key("close"))
    assert len((await client.data(DELIVERIES, first=9))["nodes"]) == 1
    removed = await client.data(REMOVE, input={"idempotencyKey": "r", "webhook": "sms"})
    assert removed == {"removedId": "webhook:sms", "errors": []}
    assert await client.data(WEBHOOKS) == []
    assert (await client.data(DELIVERIES, first=9))["nodes"] == []
    again = await client.data(REMOVE, input={"idempotencyKey": "r2", "webhook": "nobody"})
    assert again["errors"] == [{"code": "webhook_unknown", "path": ["webhook"]}]


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ('webhook: "Sms", first: 1', "webhook"),
        ('webhook: "sms", first: 101', "first"),
        ('webhook: "sms", first: 1, after: "0"', "after"),
        ('webhook: "sms", first: 1, after: "x"', "after"),
        ('webhook: "sms", first: 1, atLeast: "99"', "atLeast"),
    ],
)
async def test_wrong_arguments_are_refused(client: Client, arguments: str, path: str) -> None:
    answer = await client.ask(f"{{ deliveries({arguments}) {{ nodes {{ id }} }} }}")
    assert answer["errors"][0]["extensions"] == {"code": "invalid_input", "path": [path]}


async def test_the_metrics_show_due_messages_and_their_age(client: Client, core: Core, clock: Any) -> None:
    async def told() -> list[float]:
        client.projector.catch_up()  # type: ignore[union-attr]
        page = (await client.http.get("/metrics")).text
        return [
            float(page.partition(f"\n{name} ")[2].partition("\n")[0])
            for name in ("igob_webhook_due_messages", "igob_webhook_oldest_due_seconds")
        ]

    await open_line(core)
    await register(client)
    assert await told() == [0, 0]
    turn = await take(core, "ana")
    asked = await core.committer.submit(build(AskNotice, turn=turn, ahead=100), key("ask"))
    clock.wait(60)
    closed = await core.committer.submit(build(CloseLine, line=LINE), key("close"))
    assert await told() == [2, 60]
    await attempt(core, f"sms/{asked.position}", 1, status=500)
    assert await told() == [1, 0]
    await attempt(core, f"sms/{closed.position}", 1, status=200)
    assert await told() == [0, 0]
    clock.wait(7)
    ((_, next_at),) = [
        (row["state"], row["nextAt"]) for row in (await client.data(DELIVERIES, first=9, state="PENDING"))["nodes"]
    ]
    late_s = (clock.now - datetime.fromisoformat(next_at)).total_seconds()
    assert await told() == [1, late_s]
