"""Live fields as event streams, under uvicorn in this process, so that limits can be set low."""

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
from api.graphql.engine.trusted import Trusted, document_id
from bench.login import bearer
from domain.appointments.cancelling import CancelAppointment
from domain.decider import build
from domain.people import dependants
from infra.gateways.keys import Login, development_token
from infra.log.core import Core
from infra.postgres.connections import Unavailable
from infra.running.settings import Settings
from tests.api.conftest import book, serving
from tests.city import AGENDA as ID
from tests.city import agenda as agenda_of_city
from tests.city import booking, key, opaque, open_agenda, person
from tests.conftest import Clock
from tests.following import AGENDA, APPOINTMENT, Follower, Reader, follower, open_socket, reader
from tests.towns import Town

pytestmark = pytest.mark.anyio

STREAM = {"accept": "text/event-stream"}
OTHER = ID.replace("p-01", "p-02")
SLOT_LISTS = " ".join(f"s{n}: slots(first: 100) {{ nodes {{ number start minutes state }} }}" for n in range(8))
LARGE = f"subscription ($id: ID!) {{ agenda(id: $id) {{ position previous agenda {{ freeSlots {SLOT_LISTS} }} }} }}"


async def test_a_subscription_sends_the_state_and_each_change(url: str, core: Core) -> None:
    await open_agenda(core)
    async with reader(url, AGENDA, id=ID) as one:
        assert one.answer.status_code == 200
        expected = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-store",
            "x-accel-buffering": "no",
        }
        assert expected.items() <= one.answer.headers.items()
        assert await one.told() == {"position": 2, "previous": None, "agenda": {"id": ID, "freeSlots": 6}}
        _, position = await book(core)
        assert await one.told() == {"position": position - 1, "previous": 2, "agenda": {"id": ID, "freeSlots": 5}}
        assert await one.silent(0.1)


async def test_an_eventsource_resumes_with_last_event_id(url: str, core: Core) -> None:
    await open_agenda(core)
    _, position = await book(core)
    said = {"query": AGENDA, "variables": json.dumps({"id": ID, "after": "0"})}
    async with httpx.AsyncClient() as http:
        for headers, previous in (
            ({}, 0),
            ({"last-event-id": "2"}, 2),
            ({"last-event-id": "x"}, 0),
            ({"last-event-id": ""}, 0),
            ({"last-event-id": "9" * 19}, 0),
        ):
            async with http.stream("GET", f"{url}/graphql", params=said, headers=STREAM | headers) as answer:
                lines = answer.aiter_lines()
                while not (line := await anext(lines)).startswith("data"):
                    pass
            found = json.loads(line.removeprefix("data: "))["data"]["agenda"]
            assert (found["position"], found["previous"]) == (str(position - 1), str(previous))
    async with reader(url, AGENDA, id=ID, headers={"last-event-id": str(position)}) as one:
        assert await one.silent(0.2)


@pytest.mark.parametrize(
    ("query", "variables", "headers", "code"),
    [
        (AGENDA, {"id": "la-merced/2027-01-05/p-99"}, {}, "agenda_unknown"),
        (AGENDA, {"id": ID, "after": "3"}, {}, "position_unknown"),
        (AGENDA, {"id": ID}, {"last-event-id": "3"}, "position_unknown"),
        (AGENDA, {"id": ID, "after": "x"}, {}, "invalid_input"),
        (APPOINTMENT, {"id": ID}, {}, "invalid_input"),
        (LARGE.replace("slots(first", "t: slots(first", 1) * 2, {"id": ID}, {}, None),
    ],
)  # fmt: skip
async def test_an_invalid_subscription_gets_an_error_and_complete(  # noqa: PLR0917
    url: str, core: Core, query: str, variables: dict[str, Any], headers: dict[str, str], code: str | None
) -> None:
    await open_agenda(core)
    messages = set()
    for language in ("es", "en"):
        async with reader(url, query, headers=headers | {"accept-language": language}, **variables) as one:
            name, told = await one.event()
            assert (name, set(told) & {"data", "errors"}) == ("next", {"errors"})
            assert told["errors"][0].get("extensions", {}).get("code") == code
            messages.add(told["errors"][0]["message"])
            assert await one.event() == ("complete", "")
            with pytest.raises(EOFError):
                await one.hear()
    assert len(messages) == 2


async def test_a_trusted_document_is_followed_by_its_id(url: str, core: Core, app: Application) -> None:
    await open_agenda(core)
    app.engine.trusted = Trusted([AGENDA], strict=True)
    said = {"documentId": document_id(AGENDA), "variables": {"id": ID}}
    async with httpx.AsyncClient() as http, http.stream("POST", f"{url}/graphql", json=said, headers=STREAM) as answer:
        lines = answer.aiter_lines()
        while not (line := await anext(lines)).startswith("data"):
            pass
        assert json.loads(line.removeprefix("data: "))["data"]["agenda"]["position"] == "2"
    async with reader(url, APPOINTMENT, id=ID) as one:
        assert (await one.event())[1]["errors"][0]["extensions"]["code"] == "document_not_trusted"


async def test_an_idle_stream_sends_comments(url: str, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.streams.PING_EVERY_S", 0.1)
    await open_agenda(core)
    async with reader(url, AGENDA, id=ID, after="2") as one:
        for _ in range(5):
            assert await one.hear(5) == {"": ""}
        await book(core)
        assert (await one.told())["previous"] == 2


async def test_a_closed_stream_is_cleaned_up_at_once(
    url: str, core: Core, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.connections.CONNECTIONS_MAX", 20)
    await open_agenda(core)
    for _ in range(3):
        async with AsyncExitStack() as stack:
            everybody = [await stack.enter_async_context(reader(url, AGENDA, id=ID)) for _ in range(20)]
            for one in everybody:
                await one.told()
            assert services.live._followers == 20
        async with asyncio.timeout(5):
            while services.live._followers:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_connections_of_both_kinds_are_limited_together(
    url: str, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.connections.CONNECTIONS_MAX", 2)
    await open_agenda(core)
    async with follower(url):
        async with reader(url, AGENDA, id=ID) as one:
            await one.told()
            async with reader(url, AGENDA, id=ID) as two:
                assert (two.answer.status_code, two.answer.headers["retry-after"]) == (503, "5")
                assert "too many connections" in (await two.answer.aread()).decode()
            async with open_socket(url) as third:
                with pytest.raises(websockets.ConnectionClosed):
                    await third.recv()
                assert third.close_code == 1013
            async with reader(url, "{ __typename }") as four:  # is answered at once: it needs no place
                assert (await four.event())[0] == "next"
        async with asyncio.timeout(5):
            while True:
                async with reader(url, AGENDA, id=ID) as one:
                    if one.answer.status_code == 200:
                        break


async def test_both_transports_share_a_rendering(url: str, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    await open_agenda(core)
    made = []

    def counted(state: Any, now: Any) -> Any:
        made.append(now)
        return agenda_to_graphql(state, now)

    monkeypatch.setattr("api.graphql.appointments.live.agenda_to_graphql", counted)
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(reader(url, AGENDA, id=ID)) for _ in range(5)]
        sockets = [await stack.enter_async_context(follower(url, language="en")) for _ in range(5)]
        for socket in sockets:
            await socket.follow(AGENDA, id=ID)
        everybody: list[Reader | Follower] = [*streams, *sockets]
        for one in everybody:
            assert (await one.told())["position"] == 2
        assert len(made) == 10
        await book(core)
        told = [await one.told() for one in everybody]
        assert all(one == told[0] for one in told)
        assert len(made) == 11


async def test_a_client_that_does_not_read_is_disconnected(
    url: str, core: Core, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.streams.SEND_TIMEOUT_S", 0.3)
    await open_agenda(core)
    await core.committer.submit(agenda_of_city(100, practitioner="p-02", specialty="cardiology"), key("other"))
    said = json.dumps({"query": LARGE, "variables": {"id": OTHER}})
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1)  # it takes no more than it must
    writer.write(
        f"POST /graphql HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\ncontent-type: application/json\r\n"
        f"content-length: {len(said)}\r\n\r\n{said}".encode()
    )
    try:
        async with reader(url, AGENDA, id=OTHER) as other, asyncio.timeout(120):
            await other.told()
            while services.live._followers < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            free = 100
            while services.live._followers == 2:
                free -= 1
                await core.committer.submit(booking(100 - free, f"n{free}", agenda=OTHER), key(f"b{free}"))
                assert (await other.told())["agenda"]["freeSlots"] == free
            assert free < 99
    finally:
        writer.transport.abort()  # uvicorn would wait for it


async def test_a_stop_cuts_streams_and_opens_no_more(services: Services, core: Core) -> None:
    await open_agenda(core)
    app = Application(Settings(), services)
    async with serving(services, app) as url:
        async with reader(url, AGENDA, id=ID) as one:
            await one.told()
            app._streams.stop()
            assert await one.cut() == "the server stops"
        async with reader(url, AGENDA, id=ID) as one:
            assert one.answer.status_code == 503


async def test_a_server_error_cuts_the_stream_without_complete(
    url: str, core: Core, town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    await open_agenda(core)
    async with reader(url, AGENDA, id=ID) as one:
        await one.told()
        town.execute("INSERT INTO events (originator_id, originator_version, topic, state, notification_id)"
                     " VALUES ('x/y', 1, 'z', '{}', 9)")  # fmt: skip
        assert await one.cut() == "something went wrong on our side"
    assert "LogGap" in capsys.readouterr().err


async def test_a_stream_needs_permission(url: str, core: Core) -> None:
    await open_agenda(core)
    mine, _ = await book(core)
    logins = {"": Login(subject="ana", identity="4820194"), "forbidden": Login(subject="luis", identity="5000001")}
    for code, login in logins.items():
        async with reader(url, APPOINTMENT, headers={"authorization": bearer(login)}, id=mine) as one:
            _, told = await one.event()
            assert [error["extensions"]["code"] for error in told.get("errors", ())] == ([code] if code else [])
    async with httpx.AsyncClient() as http:
        headers = {"authorization": "Bearer abc", "accept": "text/event-stream"}
        answer = await http.post(f"{url}/graphql", json={"query": AGENDA, "variables": {"id": ID}}, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]) == (401, {"code": "token_invalid"})


async def test_a_stream_ends_with_its_token(
    url: str, core: Core, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    monkeypatch.setattr("api.http.connections.TOKEN_CHECKED_EVERY_S", 0.02)
    token = development_token(core.secret, Settings(), Login(), begin=clock(), lasts=timedelta(minutes=1))
    async with reader(url, AGENDA, headers={"authorization": f"Bearer {token}"}, id=ID) as one:
        await one.event()
        clock.wait(60 + SKEW_S)
        with pytest.raises(httpx.RemoteProtocolError):  # cut, not complete
            await one.event()


async def test_an_ended_guardianship_ends_the_stream(url: str, core: Core) -> None:
    """Rights are looked at before each message, also before one that somebody else had made."""
    await open_agenda(core)
    visit, _ = await book(core)
    ana, eva = opaque("Ana"), opaque("Eva")
    submit = core.committer.submit
    await submit(person("Eva", core, ci="6000001"), key("Eva"))
    for command in (
        build(dependants.DeclareDependant, guardian=eva, dependant=ana, relation="CARE", declared_by=opaque("x")),
        build(dependants.ConfirmDependant, guardian=eva, dependant=ana, relation="CARE", confirmed_by=opaque("y")),
    ):
        await submit(command, key(type(command).__name__))
    guardian = {"authorization": bearer(Login(subject="eva", identity="6000001"))}
    async with reader(url, APPOINTMENT, id=visit) as other, reader(url, APPOINTMENT, headers=guardian, id=visit) as one:
        assert "errors" not in (await one.event())[1]
        assert "errors" not in (await other.event())[1]
        await submit(build(dependants.EndDependency, guardian=eva, dependant=ana, reason="DEPENDANT"), key("end"))
        await submit(build(CancelAppointment, appointment=visit), key("cancel"))
        name, told = await one.event()
        assert (name, told["errors"][0]["extensions"], "data" in told) == ("next", {"code": "forbidden"}, False)
        assert (await one.event())[0] == "complete"
        assert (await other.event())[1]["data"]["appointment"]["appointment"]["state"] == "CANCELLED"


async def test_an_unavailable_permission_check_affects_one_stream(
    url: str, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    visit, _ = await book(core)
    ana = {"Authorization": bearer(Login(subject="ana", identity="4820194"))}
    load = core.log.load

    async def load_no_agenda(streams: Any, **more: Any) -> Any:
        if any(stream.startswith("agenda/") for stream in streams):
            raise Unavailable
        return await load(streams, **more)

    async with follower(url, payload=ana) as one:
        await one.follow(APPOINTMENT, name="a", id=visit)
        await one.told()
        await one.follow(AGENDA, name="b", id=ID)
        await one.told()
        monkeypatch.setattr(core.log, "load", load_no_agenda)
        await core.committer.submit(build(CancelAppointment, appointment=visit), key("cancel"))
        heard = {message["id"]: message for message in (await one.hear(), await one.hear())}
    assert (heard["a"]["type"], heard["a"]["payload"][0]["extensions"]) == ("error", {"code": "unavailable"})
    assert heard["b"]["type"] == "next"
