"""Live fields over real WebSockets, under uvicorn in this process, so that limits can be set low."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import httpx
import pytest
import websockets

from api.access.identity import SKEW_S
from api.app import Application
from api.graphql.appointments.agendas import agenda_to_graphql
from api.graphql.context import Services
from api.graphql.engine.live import one_entity
from api.graphql.engine.trusted import Trusted, document_id
from bench.login import bearer
from infra.gateways.keys import Login, development_token
from infra.log.core import Core
from infra.running.settings import Settings
from tests.api.conftest import book, serving
from tests.city import AGENDA as ID
from tests.city import agenda as agenda_of_city
from tests.city import booking, key, opaque, open_agenda
from tests.conftest import Clock
from tests.following import AGENDA, APPOINTMENT, follower, open_socket
from tests.towns import Town

pytestmark = pytest.mark.anyio

SLOT_LISTS = " ".join(f"s{n}: slots(first: 100) {{ nodes {{ number start minutes state }} }}" for n in range(12))
TOO_LARGE = f'subscription {{ agenda(id: "x") {{ agenda {{ {SLOT_LISTS} }} }} }}'
OTHER = ID.replace("p-01", "p-02")


async def test_a_subscription_sends_the_state_and_each_change(url: str, core: Core) -> None:
    await open_agenda(core)
    async with follower(url) as one:
        await one.follow(AGENDA, id=ID)
        assert await one.told() == {"position": 2, "previous": None, "agenda": {"id": ID, "freeSlots": 6}}
        appointment, position = await book(core)
        assert await one.told() == {"position": position - 1, "previous": 2, "agenda": {"id": ID, "freeSlots": 5}}
        await one.follow(APPOINTMENT, name="2", id=appointment)
        assert (await one.told())["appointment"] == {
            "id": appointment, "slot": 1, "patient": {"id": opaque("Ana")}, "state": "BOOKED",
        }  # fmt: skip
        await one.say(type="complete", id="1")
        await one.say(type="complete", id="2")
        await book(core, 2, "Luis")
        assert await one.silent(0.2)


@pytest.mark.parametrize(
    ("query", "variables", "code", "path"),
    [
        (AGENDA, {"id": "la-merced/2027-01-05/p-99"}, "agenda_unknown", ["id"]),
        (AGENDA, {"id": "../../etc/passwd"}, "invalid_input", ["id"]),
        (AGENDA, {"id": ID + "\n"}, "invalid_input", ["id"]),
        (AGENDA, {"id": "half \ud800"}, "invalid_input", ["id"]),
        (AGENDA, {"id": ID, "after": "3"}, "position_unknown", ["after"]),
        (AGENDA, {"id": ID, "after": "x"}, "invalid_input", ["after"]),
        (AGENDA, {"id": ID, "after": "-1"}, "invalid_input", ["after"]),
        (APPOINTMENT, {"id": f"{ID}/{opaque('nobody')}"}, "appointment_unknown", ["id"]),
        (APPOINTMENT, {"id": f"la-merced/2027-01-05/p-99/{opaque('x')}"}, "appointment_unknown", ["id"]),
        (APPOINTMENT, {"id": ID}, "invalid_input", ["id"]),
        (TOO_LARGE, {}, "query_too_large", None),
    ],
)  # fmt: skip
async def test_an_invalid_subscription_is_refused_in_the_client_s_language(  # noqa: PLR0917
    url: str, core: Core, query: str, variables: dict[str, Any], code: str, path: list[str] | None
) -> None:
    await open_agenda(core)
    messages = set()
    for language in ("es", "en"):
        async with follower(url, language=language) as one:
            await one.follow(query, **variables)
            error = await one.refused()
            assert error["extensions"] == {"code": code} | ({"path": path} if path else {})
            messages.add(error["message"])
            await one.follow(AGENDA, id=ID)  # the connection is as good as before
            assert (await one.told())["position"] == 2
    assert len(messages) == 2


@pytest.mark.parametrize("operation", ["{ __typename }", "mutation { __typename }"])
async def test_queries_and_mutations_go_over_http(url: str, operation: str) -> None:
    async with follower(url) as one:
        await one.follow(operation)
        assert "Only subscriptions" in (await one.refused())["message"]


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("application/graphql-response+json", 400),
        ("multipart/mixed;subscriptionSpec=1.0", 406),
    ],
)
async def test_a_subscription_by_plain_http_is_refused(url: str, core: Core, accept: str, status: int) -> None:
    await open_agenda(core)
    content = json.dumps({"query": AGENDA, "variables": {"id": ID}})
    async with httpx.AsyncClient() as http:
        headers = {"accept": accept, "content-type": "application/json"}
        answer = await http.post(f"{url}/graphql", content=content, headers=headers)
    assert answer.status_code == status
    assert ("por WebSockets con" in answer.text) == (status != 406)
    assert "position" not in answer.text


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("subscription { agenda", "Syntax Error"),
        ("subscription { nothing }", "Cannot query field"),
        ('subscription { a: agenda(id: "x") { position } b: agenda(id: "x") { position } }', "only one"),
        ("subscription { " + "a " * 3_000 + "}", "tokens"),
    ],
)
async def test_subscription_documents_are_validated(url: str, document: str, message: str) -> None:
    async with follower(url, language="en") as one:
        await one.follow(document)
        heard = await one.hear()
        assert heard["type"] == "error"
        assert message in heard["payload"][0]["message"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"binary", "must be text"),
        ("x" * 65_537, "larger than 65536 bytes"),
        ("{", "not JSON"),
        ("5", "must be an object"),
        ("{}", "must be an object"),
        ('{"type": 5}', "must be an object"),
        ('{"type": "other"}', "Unknown message type"),
        ('{"type": "complete"}', "`id` must be"),
        ('{"type": "subscribe", "id": ""}', "`id` must be"),
        (json.dumps({"type": "subscribe", "id": "x" * 129}), "`id` must be"),
        ('{"type": "subscribe", "id": "1"}', "must be an object"),
        ('{"type": "subscribe", "id": "1", "payload": {"query": 5}}', "`query` must be"),
        ('{"type": "subscribe", "id": "1", "payload": {"query": "x", "variables": []}}', "`variables` must be"),
    ],
)
async def test_a_protocol_error_closes_the_connection(url: str, said: str | bytes, reason: str) -> None:
    async with follower(url) as one:
        await one.socket.send(said)
        code, why = await one.closed()
        assert (code, reason in why) == (4400, True), why


async def test_subscribing_needs_connection_init(url: str) -> None:
    async with open_socket(url) as socket:
        await socket.send('{"type": "subscribe", "id": "1", "payload": {"query": "x"}}')
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4401


async def test_connection_init_has_a_timeout(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.sockets.INIT_TIMEOUT_S", 0.2)
    async with serving(services) as url, open_socket(url) as socket:
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)
        assert socket.close_code == 4408


async def test_a_client_without_pongs_is_disconnected(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.sockets.PING_EVERY_S", 0.1)
    monkeypatch.setattr("api.http.sockets.SILENCE_MAX_S", 0.5)
    async with follower(url) as one, follower(url) as two:
        for _ in range(10):
            assert (await one.hear())["type"] == "ping"
            await one.say(type="pong")
        assert await two.closed() == (1013, "you do not answer")
        assert (await one.hear())["type"] == "ping"


async def test_subscriptions_per_connection_are_limited(url: str, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.sockets.SUBSCRIPTIONS_MAX", 2)
    await open_agenda(core)
    async with follower(url) as one:
        for name in ("1", "2"):
            await one.follow(AGENDA, name=name, id=ID)
            await one.told()
        await one.follow(AGENDA, name="3", id=ID)
        error = await one.refused()
        assert (error["extensions"]["code"], "at most 2" in error["message"]) == ("too_many_subscriptions", True)
        await one.say(type="complete", id="1")
        await one.follow(AGENDA, name="3", id=ID)
        await one.told()


async def test_connections_and_followers_per_process_are_limited(
    url: str, core: Core, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.connections.CONNECTIONS_MAX", 2)
    monkeypatch.setattr("api.graphql.engine.live.FOLLOWERS_MAX", 1)
    await open_agenda(core)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(follower(url))
        async with follower(url) as two:
            async with open_socket(url) as third:
                with pytest.raises(websockets.ConnectionClosed):
                    await third.recv()
                assert (third.close_code, third.close_reason) == (1013, "too many connections")
            await one.follow(AGENDA, id=ID)
            await one.told()
            await two.follow(AGENDA, id=ID)
            assert (await two.refused())["extensions"]["code"] == "overloaded"
        await stack.enter_async_context(follower(url))  # there is room again


async def test_a_page_of_another_origin_is_refused(url: str) -> None:
    async with follower(url, origin=url):
        pass
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with open_socket(url, origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403


async def test_events_are_read_once_for_all_followers(
    url: str, core: Core, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    histories, pages = [], []
    history, since = core.log.history, core.log.since

    async def counted_history(stream: str) -> Any:
        histories.append(stream)
        return await history(stream)

    async def counted_since(position: int) -> Any:
        page = await since(position)
        pages.append(len(page))
        return page

    monkeypatch.setattr(core.log, "history", counted_history)
    monkeypatch.setattr(core.log, "since", counted_since)
    async with AsyncExitStack() as stack:
        everybody = [await stack.enter_async_context(follower(url)) for _ in range(10)]
        for one in everybody:
            await one.follow(AGENDA, id=ID)
            await one.told()
        await book(core)
        told = [await one.told() for one in everybody]
        assert all(one == told[0] for one in told)
        assert histories == [f"agenda/{ID}"]
        assert sum(pages) == await core.log.head() - 2
    await asyncio.sleep(0.2)
    asked = len(pages)
    await asyncio.sleep(0.2)
    assert len(pages) == asked


async def test_equal_followers_share_a_rendering(url: str, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    await open_agenda(core)
    made = []

    def counted(state: Any, now: Any) -> Any:
        made.append(now)
        return agenda_to_graphql(state, now)

    monkeypatch.setattr("api.graphql.appointments.live.agenda_to_graphql", counted)
    async with AsyncExitStack() as stack:
        everybody = [await stack.enter_async_context(follower(url)) for _ in range(10)]
        for number, one in enumerate(everybody):
            await one.follow(AGENDA, id=ID, after=str(number % 2))  # some come again, from different places
            assert (await one.told())["previous"] == number % 2
        assert len(made) == 10
        await book(core)
        told = [await one.told() for one in everybody]
        assert all(one == told[0] for one in told)
        assert len(made) == 11


async def test_a_gap_in_the_log_disconnects_followers(
    url: str, core: Core, town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    await open_agenda(core)
    async with follower(url) as one:
        await one.follow(AGENDA, id=ID)
        await one.told()
        town.execute("INSERT INTO events (originator_id, originator_version, topic, state, notification_id)"
                     " VALUES ('x/y', 1, 'z', '{}', 9)")  # fmt: skip
        assert (await one.closed())[0] == 1011
    assert "LogGap" in capsys.readouterr().err


async def test_an_unknown_event_ends_only_its_stream(url: str, core: Core, town: Town) -> None:
    await open_agenda(core)
    await core.committer.submit(agenda_of_city(practitioner="p-02", specialty="cardiology"), key("other"))
    async with follower(url) as one, follower(url) as two:
        await one.follow(AGENDA, id=ID)
        await one.told()
        await two.follow(AGENDA, id=OTHER)
        await two.told()
        town.execute("INSERT INTO events (originator_id, originator_version, topic, state, notification_id)"
                     " VALUES (%s, 2, 'unheard_of.v1', '{}', 4)", f"agenda/{ID}")  # fmt: skip
        assert (await one.closed())[0] == 1011
        await core.committer.submit(booking(1, "Ana", agenda=OTHER), key("b"))
        assert (await two.told())["previous"] == 3


async def test_a_change_does_not_affect_earlier_snapshots(core: Core, services: Services) -> None:
    await open_agenda(core)
    async with services.live.follow(f"agenda/{ID}", after=None) as following:
        before = (await following.change()).snapshot
        await book(core)
        after = (await following.change()).snapshot
        assert (len(before.state.booked), len(after.state.booked)) == (0, 1)
        assert (len(before.state.unbooked), len(after.state.unbooked)) == (6, 5)
        assert (len(before.touched), len(after.touched)) == (0, 1)


async def test_following_an_entity_needs_declared_touches() -> None:
    with pytest.raises(TypeError, match=r'"hospital/la-merced" can be followed: .* declares no `touches`'):
        one_entity("hospital/la-merced", "la-merced")
    one_entity(f"agenda/{ID}", f"{ID}/{opaque('Ana')}")


async def test_another_follower_renders_if_the_first_leaves(core: Core, services: Services) -> None:
    await open_agenda(core)
    stream = f"agenda/{ID}"
    async with services.live.follow(stream, after=None) as one:
        async with services.live.follow(stream, after=None) as two:
            await two.snapshot()
            assert await two.answer("q") is None
            waiting = asyncio.create_task(one.answer("q"))
            await asyncio.sleep(0.05)
            assert not waiting.done()  # for what the other makes
        assert await asyncio.wait_for(waiting, 1) is None  # the other has gone: it is ours to make
        made = (await one.change()).snapshot
        one.made(made, "text")
        async with services.live.follow(stream, after=None) as three:
            assert await three.answer("q") == "text"
        async with services.live.follow(stream, after=None) as four:
            assert await four.answer("another question") is None


def persisted(text: str) -> dict[str, Any]:
    digest = document_id(text).removeprefix("sha256:")
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}}


async def test_a_subscription_id_in_use_is_refused(url: str, core: Core) -> None:
    await open_agenda(core)
    async with follower(url) as one:
        await one.follow(AGENDA, id=ID)
        assert (await one.told())["position"] == 2
        await one.say(type="subscribe", id="1", payload={"documentId": "sha256:unknown"})
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await one.hear()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 4409


async def test_a_trusted_document_can_be_subscribed_by_its_id(url: str, core: Core, app: Application) -> None:
    await open_agenda(core)
    app.engine.trusted = Trusted([AGENDA], strict=True)
    async with follower(url, language="en") as one:
        for payload, code in (
            ({"documentId": document_id(APPOINTMENT)}, "document_unknown"),
            ({"query": APPOINTMENT}, "document_not_trusted"),
            (persisted(APPOINTMENT), "PERSISTED_QUERY_NOT_SUPPORTED"),
        ):
            await one.say(type="subscribe", id="1", payload=payload)
            assert (await one.refused())["extensions"]["code"] == code
        await one.say(type="subscribe", id="1", payload={"documentId": document_id(AGENDA), "variables": {"id": ID}})
        assert (await one.told())["position"] == 2
        await one.say(type="subscribe", id="2", payload=persisted(AGENDA) | {"variables": {"id": ID}})
        assert (await one.told())["position"] == 2


async def test_an_appointment_is_followed_only_by_its_patient(url: str, core: Core) -> None:
    await open_agenda(core)
    mine, _ = await book(core)
    ana, luis = Login(subject="ana", identity="4820194"), Login(subject="luis", identity="5000001")
    for login, code in ((ana, None), (luis, "forbidden"), (None, "login_required")):
        async with follower(url, payload={"authorization": bearer(login)} if login else {}) as one:
            await one.follow(APPOINTMENT, id=mine)
            if code is None:
                assert (await one.told())["appointment"]["patient"] == {"id": opaque("Ana")}
            else:
                assert (await one.refused())["extensions"] == {"code": code}
    # Programs may say it where they say it for HTTP.
    async with follower(url, payload={}, headers={"Authorization": bearer(ana)}) as one:
        await one.follow(APPOINTMENT, id=mine)
        assert (await one.told())["appointment"]["id"] == mine


async def test_an_invalid_token_closes_the_connection(url: str) -> None:
    for payload in ({"Authorization": "Bearer abc"}, {"authorization": "abc"}, {"Authorization": "Bearer \ud800"}):
        async with open_socket(url) as socket:
            await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
            with pytest.raises(websockets.ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 5)
            assert (socket.close_code, socket.close_reason) == (4403, "token_invalid")


async def test_a_connection_ends_with_its_token(
    url: str, core: Core, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    monkeypatch.setattr("api.http.connections.TOKEN_CHECKED_EVERY_S", 0.02)
    token = development_token(core.secret, Settings(), Login(), begin=clock(), lasts=timedelta(minutes=1))
    async with follower(url, payload={"Authorization": f"Bearer {token}"}) as one:
        await one.follow(AGENDA, id=ID)
        await one.told()
        clock.wait(60 + SKEW_S - 1)
        assert await one.silent(0.1)
        clock.wait(1)
        assert await one.closed() == (4403, "token_invalid")
