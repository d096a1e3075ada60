"""How often somebody may ask: each actor, each address of those without a token, by HTTP and by WebSocket."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from api.access.rates import BURST_S, PAYERS_MAX, Rate, Rates, address_of
from api.app import Application
from api.graphql.context import Services
from api.graphql.engine.documents import DOCUMENT_CHARACTERS_MAX
from api.graphql.engine.execution import CHARACTERS_CHARGED
from bench.login import bearer
from infra.gateways.keys import Login
from infra.log.core import Core
from infra.postgres.views import Views
from infra.running.settings import Settings
from tests.api.conftest import services_of, serving
from tests.conftest import Clock
from tests.following import AGENDA, follower, open_socket

ACTORS_PER_S = 2
STRANGERS_PER_S = 3
ASK = {"query": "{ __typename }"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ANA, LUIS = (bearer(Login(subject=name)) for name in ("ana", "luis"))


def nanoseconds(clock: Clock) -> Callable[[], int]:
    return lambda: (clock() - EPOCH) // timedelta(microseconds=1) * 1_000


@pytest.fixture
def services(core: Core, views: Views, clock: Clock) -> Services:
    return limited(core, views, clock)


def limited(core: Core, views: Views, clock: Clock, **more: Any) -> Services:
    settings = Settings(requests_per_s=ACTORS_PER_S, anonymous_per_s=STRANGERS_PER_S, **more)
    return services_of(core, views, clock, settings, rates=Rates(settings, nanoseconds(clock)))


class House:
    """An application, asked from any address."""

    def __init__(self, services: Services) -> None:
        self.app = Application(Settings(oidc_issuer="https://id.example"), services)

    async def ask(self, token: str = "", said: Any = None, address: str = "192.0.2.1", **more: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, client=(address, 1))
        headers = more | ({"authorization": token} if token else {})
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return await http.post("/graphql", json=said or ASK, headers=headers)

    async def asked(self, count: int, token: str = "", address: str = "192.0.2.1", **more: str) -> list[int]:
        return [(await self.ask(token, address=address, **more)).status_code for _ in range(count)]


@pytest.fixture
def house(services: Services) -> House:
    return House(services)


def granted_then_refused(statuses: list[int], granted: int) -> bool:
    return statuses == [200] * granted + [429] * (len(statuses) - granted)


@given(
    per_s=st.integers(1, 1_000),
    steps=st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 16)), max_size=200),
)
def test_the_rate_is_never_exceeded_and_always_reached(per_s: int, steps: list[tuple[int, int]]) -> None:
    now_ns = 0
    rate = Rate(per_s, lambda: now_ns)
    taken = 0
    for pause_ms, units in steps:
        now_ns += pause_ms * 1_000_000
        wait_s = rate.spend("ana", units)
        if wait_s:
            assert BURST_S * 1_000_000_000 > wait_s - 1 >= 0
            now_ns += wait_s * 1_000_000_000
            assert rate.spend("ana", units) == 0
        taken += units
        assert taken <= per_s * (BURST_S + now_ns / 1_000_000_000) * 1.000_001 + units - 1


def test_a_full_bucket_allows_its_burst() -> None:
    rate = Rate(50, lambda: 7)
    assert [rate.spend("ana") for _ in range(251)] == [0] * 250 + [1]
    assert rate.spend("luis") == 0


def test_refused_requests_do_not_prolong_the_wait() -> None:
    now_ns = 0
    rate = Rate(1, lambda: now_ns)
    rate.spend("ana", 2 * BURST_S)
    assert [rate.spend("ana") for _ in range(100)] == [BURST_S + 1] * 100
    now_ns += (BURST_S + 1) * 1_000_000_000
    assert rate.spend("ana") == 0


def test_the_table_of_payers_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert PAYERS_MAX <= 100_000
    monkeypatch.setattr("api.access.rates.PAYERS_MAX", 100)
    rate = Rate(1, lambda: 0)
    rate.spend("ana", BURST_S)
    for number in range(1_000):
        assert rate.spend("ana") > 0
        assert rate.spend(f"stranger {number}") == 0
        assert len(rate) <= 100


def test_0_is_no_limit() -> None:
    rate = Rate(0, lambda: 0)
    assert not any(rate.spend("ana") for _ in range(10_000))
    assert len(rate) == 0


@pytest.mark.parametrize(
    ("peer", "said", "counted"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "198.51.100.7"),
        ("192.0.2.1", "203.0.113.1, 203.0.113.2,198.51.100.7", "198.51.100.7"),  # what the client wrote before it
        ("192.0.2.1", "198.51.100.7:4711", "198.51.100.7"),
        ("192.0.2.1", "unknown", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7, ", "192.0.2.1"),
        ("::ffff:192.0.2.1", "", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::"),  # all of whoever has the network
        ("192.0.2.1", "[2001:db8:1:2::9]:443", "2001:db8:1:2::"),
        ("", "", ""),
    ],
)
def test_the_address_of_a_client(peer: str, said: str, counted: str) -> None:
    headers = {b"x-forwarded-for": said.encode()}
    assert address_of(peer, headers, "X-Forwarded-For") == counted
    assert address_of(peer, headers, "") == address_of(peer, {}, "X-Forwarded-For")  # not looked at


@pytest.mark.anyio
async def test_a_limited_actor_gets_retry_after(house: House, clock: Clock) -> None:
    granted = ACTORS_PER_S * BURST_S
    assert granted_then_refused(await house.asked(granted + 2, ANA), granted)
    for language, words in (("es", "demasiadas solicitudes"), ("en", "too many requests")):
        refused = await house.ask(ANA, **{"accept-language": language})
        assert refused.headers["retry-after"] == "1"
        (error,) = refused.json()["errors"]
        assert error["extensions"] == {"code": "too_many_requests"}
        assert words in error["message"]
        assert "1 s" in error["message"]
        assert "data" not in refused.json()
    assert await house.asked(1, LUIS) == [200]  # from the same address
    assert await house.asked(1) == [200]  # nor are strangers there to blame
    clock.wait(1)
    assert granted_then_refused(await house.asked(ACTORS_PER_S + 1, ANA), ACTORS_PER_S)
    page = house.app.services.requests.metrics.page().decode()
    assert 'igob_requests_total{field="unknown",kind="unknown",outcome="limited"} 5.0' in page


@pytest.mark.anyio
async def test_tokens_of_one_login_share_a_limit(house: House) -> None:
    await house.asked(ACTORS_PER_S * BURST_S, ANA)
    assert await house.asked(1, bearer(Login(subject="ana", client="another-program"))) == [429]


@pytest.mark.anyio
async def test_requests_without_a_token_count_by_address(house: House) -> None:
    granted = STRANGERS_PER_S * BURST_S
    assert granted_then_refused(await house.asked(granted + 1), granted)
    assert await house.asked(1, address="192.0.2.2") == [200]
    assert await house.asked(1, ANA) == [200]
    forged = {"x-forwarded-for": "198.51.100.7"}  # nobody said that there is a proxy
    assert await house.asked(1, **forged) == [429]


@pytest.mark.anyio
async def test_behind_a_proxy_the_forwarded_address_counts(core: Core, views: Views, clock: Clock) -> None:
    house = House(limited(core, views, clock, client_address_header="X-Forwarded-For"))
    for number in range(STRANGERS_PER_S * BURST_S):
        said = {"x-forwarded-for": f"203.0.113.{number}, 198.51.100.7"}
        assert await house.asked(1, **said) == [200]
    assert await house.asked(1, **{"x-forwarded-for": "198.51.100.7"}) == [429]
    assert await house.asked(1, **{"x-forwarded-for": "198.51.100.8"}) == [200]


@pytest.mark.anyio
async def test_invalid_tokens_count_by_address(house: House) -> None:
    granted = STRANGERS_PER_S * BURST_S
    assert await house.asked(granted + 1, "Bearer x") == [401] * granted + [429]
    assert await house.asked(1, ANA) == [200]


@pytest.mark.anyio
async def test_the_body_of_a_limited_request_is_not_read(house: House) -> None:
    await house.asked(ACTORS_PER_S * BURST_S, ANA)
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body is read")

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"authorization", ANA.encode()), (b"content-type", b"application/json"), (b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": "/graphql", "headers": headers, "query_string": b"",
             "client": ("192.0.2.1", 1)}  # fmt: skip
    await house.app(scope, receive, send)
    assert sent[0]["status"] == 429


REGISTER = """registerHospital(input: {idempotencyKey: "KEY", hospital: "KEY", name: "H"}) { errors { code } }"""


def mutation(commands: int) -> dict[str, str]:
    """So many commands in one request, one of them in a fragment."""
    fields = [f"h{n}: {REGISTER.replace('KEY', f'h-{n}')}" for n in range(commands)]
    return {"query": f"mutation {{ {' '.join(fields[1:])} ...f }} fragment f on Mutation {{ {fields[0]} }}"}


@pytest.mark.anyio
async def test_each_command_of_a_mutation_counts(house: House, clock: Clock) -> None:
    admin = bearer(Login(subject="admin", roles=["administrator"]))
    granted = ACTORS_PER_S * BURST_S
    assert (await house.ask(admin, mutation(granted - 1))).status_code == 200
    assert granted_then_refused(await house.asked(2, admin), 1)
    clock.wait(BURST_S)
    several = {"query": "{ " + " ".join(f"a{n}: __typename" for n in range(9)) + " }"}
    for _ in range(granted):  # a query is one: its cost is bounded
        assert (await house.ask(admin, several)).status_code == 200
    assert (await house.ask(admin, several)).status_code == 429


@pytest.mark.anyio
async def test_a_mutation_beyond_the_limit_executes_nothing(house: House, clock: Clock) -> None:
    admin = bearer(Login(subject="admin", roles=["administrator"]))
    await house.asked(ACTORS_PER_S * BURST_S - 1, admin)
    refused = await house.ask(admin, mutation(3))  # there is room for the request, but not for more
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert await house.app.services.core.log.head() == 0
    clock.wait(1)
    done = (await house.ask(admin, mutation(3))).json()["data"]
    assert done == {f"h{n}": {"errors": []} for n in range(3)}
    assert (await house.ask(admin)).headers["retry-after"] == "1"  # what was taken beyond what was there is a debt


@pytest.fixture
async def url(services: Services) -> AsyncIterator[str]:
    async with serving(services) as url:
        yield url


@pytest.mark.anyio
async def test_connections_and_subscriptions_count_as_well(url: str, services: Services, clock: Clock) -> None:
    granted = ACTORS_PER_S * BURST_S
    async with follower(url, payload={"Authorization": ANA}) as one:  # the first
        for number in range(granted - 1):
            await one.follow(AGENDA, name=str(number), id="nowhere")
            assert (await one.refused())["extensions"]["code"] != "too_many_requests"
        await one.follow(AGENDA, name="too many", id="nowhere")
        refused = await one.refused()
        assert refused["extensions"] == {"code": "too_many_requests"}
        assert "1 s" in refused["message"]
        async with open_socket(url) as socket:
            init = {"type": "connection_init", "payload": {"Authorization": ANA}}
            await socket.send(msgspec.json.encode(init).decode())
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            assert (socket.close_code, socket.close_reason) == (1013, "too_many_requests")
        clock.wait(1)
        await one.follow(AGENDA, name="again", id="nowhere")  # the connection stays
        assert (await one.refused())["extensions"]["code"] != "too_many_requests"
    assert 'outcome="limited"} 2.0' in services.requests.metrics.page().decode()


@pytest.mark.anyio
async def test_a_long_document_counts_by_its_length_each_time(house: House) -> None:
    long = {"query": "{ __typename }" + " " * (DOCUMENT_CHARACTERS_MAX + 4 * CHARACTERS_CHARGED)}
    granted = math.ceil(ACTORS_PER_S * BURST_S / 6)  # the request itself, and five more; the last may be a debt
    statuses = [(await house.ask(ANA, said=long)).status_code for _ in range(granted + 2)]
    assert granted_then_refused(statuses, granted)


@pytest.mark.anyio
async def test_handshakes_and_pings_count_as_well(url: str) -> None:
    async with open_socket(url) as socket:  # it says nothing, and the address has paid
        for _ in range(STRANGERS_PER_S * BURST_S + 1):
            async with open_socket(url) as other:
                with suppress(websockets.ConnectionClosed, TimeoutError):
                    await asyncio.wait_for(other.recv(), 0.2)
                if other.close_code is not None:
                    break
        assert (other.close_code, other.close_reason) == (1013, "too_many_requests")
        await socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": ANA}}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        for _ in range(ACTORS_PER_S * BURST_S + 1):
            with suppress(websockets.ConnectionClosed, TimeoutError):
                await socket.send('{"type": "ping"}')
                await socket.recv()
        assert (socket.close_code, socket.close_reason) == (1013, "too_many_requests")
