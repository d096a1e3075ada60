"""Webhooks on a real log, sent to a real receiver: at least once, signed, one after the other or not at all."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

import infra.gateways.posting
import infra.reactions.webhooks
from domain.decider import build
from domain.queues.calling import CallNext
from domain.queues.opening import CloseLine
from domain.queues.turns import AskNotice
from domain.webhooks.delivery import ATTEMPTS_MAX, BACK_OFF, RecordAttempt, ResendDelivery
from domain.webhooks.registration import RegisterWebhook, RemoveWebhook
from infra.gateways.posting import open_posting
from infra.log.core import Core
from infra.log.submission import Key
from infra.postgres.views import Views
from infra.reactions.reaction import ACTOR
from infra.reactions.webhooks import WebhookSender, secret_text
from projections.engine.keyset import Range
from projections.webhooks import deliveries
from projections.webhooks.deliveries import ShownDelivery, of_webhook
from tests.city import key, opaque
from tests.conftest import Clock
from tests.projecting import Projector, projector
from tests.receiving import Receiver, receiving
from tests.towns import Town
from tests.waiting_log import LINE, open_line, take, turn_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("read_models")]

DOCS = Path(__file__).parents[3] / "docs" / "webhooks.md"
HOOK = "sms-gateway"
SOON_S = 10


@pytest.fixture
def receiver() -> Any:
    with receiving() as one:
        yield one


class Post:
    """A courier, and the projector that shows it what happened."""

    def __init__(self, core: Core, views: Views, projecting: Projector, sender: WebhookSender) -> None:
        self.core = core
        self.views = views
        self.projecting = projecting
        self.sender = sender
        self._numbers = 0

    async def do(self, kind: Any, **fields: Any) -> int:
        self._numbers += 1
        return (await self.core.committer.submit(build(kind, **fields), key(f"post {self._numbers}"))).position

    async def notice(self, name: str) -> int:
        """Somebody takes a turn and is told at once that at most so many are before them: the notice's position."""
        return await self.do(AskNotice, turn=await take(self.core, name), ahead=100)

    async def tick(self) -> None:
        """Look once, with read models that are up to date, and wait until all that was begun has ended."""
        self.projecting.catch_up()
        await self.look()

    async def look(self) -> None:
        await self.sender.tick()
        await self.sender.idle()

    async def shown(self, hook: str = HOOK) -> list[ShownDelivery]:
        self.projecting.catch_up()
        return (await self.views.ask(of_webhook(hook, state=None, part=Range(100))))[0]


@asynccontextmanager
async def posting(town: Town, core: Core, views: Views, clock: Clock) -> AsyncIterator[Post]:
    with projector(town) as projecting:
        async with open_posting() as outgoing:
            post = Post(core, views, projecting, WebhookSender(core, views, outgoing, deliveries, clock))
            projecting.catch_up()
            await post.sender.begin()
            yield post
            await post.sender.stop()


@asynccontextmanager
async def another(post: Post, clock: Clock) -> AsyncIterator[WebhookSender]:
    """A second courier at the same read models."""
    async with open_posting() as outgoing:
        sender = WebhookSender(post.core, post.views, outgoing, deliveries, clock)
        post.projecting.catch_up()
        await sender.begin()
        yield sender
        await sender.stop()


@pytest.fixture
async def post(town: Town, core: Core, views: Views, clock: Clock, receiver: Receiver) -> AsyncIterator[Post]:
    """With a line, and the receiver registered for all there is."""
    async with posting(town, core, views, clock) as one:
        await open_line(core)
        await one.do(RegisterWebhook, webhook=HOOK, url=receiver.url, name="SMS", kinds=["notice_given", "line_closed"])
        yield one


async def test_a_given_notice_is_sent(post: Post, receiver: Receiver, clock: Clock) -> None:
    position = await post.notice("ana")
    await post.tick()
    await post.tick()
    (got,) = receiver.got
    assert got.id == f"{HOOK}/{position}"
    assert msgspec.json.decode(got.body) == {
        "type": "notice_given",
        "timestamp": "2027-01-04T12:00:00Z",
        "position": str(position),
        "data": {
            "turn": turn_of("ana"),
            "line": LINE,
            "number": "A-001",
            "ahead": 0,
            "minutes": None,
            "person": opaque("ana"),
        },
    }
    (shown,) = await post.shown()
    assert (shown.state, shown.attempts, shown.next_at) == ("DELIVERED", 1, None)
    assert [(one.status, one.error) for one in shown.history] == [(200, "")]


async def test_a_closed_line_s_message_lists_waiting_turns(post: Post, receiver: Receiver) -> None:
    for name in ("ana", "luis"):
        await take(post.core, name)
    position = await post.do(CloseLine, line=LINE)
    await post.tick()
    (got,) = receiver.got
    response = msgspec.json.decode(got.body)
    assert (response["type"], response["position"]) == ("line_closed", str(position))
    waited = [
        {"turn": turn_of(name), "number": f"A-00{number}", "person": opaque(name)}
        for number, name in enumerate(("ana", "luis"), start=1)
    ]
    assert response["data"] == {"line": LINE, "unserved": waited}


async def test_a_failed_message_is_repeated_with_back_off_and_given_up(
    post: Post, receiver: Receiver, clock: Clock
) -> None:
    receiver.answer = lambda got: 500
    await post.notice("ana")
    waits = []
    for attempt in range(1, ATTEMPTS_MAX + 1):
        await post.tick()
        (shown,) = await post.shown()
        assert (shown.attempts, len(receiver.got)) == (attempt, attempt)
        if shown.next_at:
            waits.append(shown.next_at - clock.now)
            clock.now = shown.next_at - timedelta(seconds=0.001)
            await post.tick()
            assert len(receiver.got) == attempt  # not too early
            clock.now = shown.next_at
    assert (shown.state, shown.next_at) == ("GIVEN_UP", None)
    assert {one.status for one in shown.history} == {500}
    assert len(set(receiver.ids())) == 1
    assert all(pause <= wait <= pause * 1.2 for pause, wait in zip(BACK_OFF, waits, strict=True))
    clock.wait(10 * 24 * 3_600)
    await post.tick()
    assert len(receiver.got) == ATTEMPTS_MAX


async def test_any_tried_message_can_be_resent(post: Post, receiver: Receiver, clock: Clock) -> None:
    receiver.answer = lambda got: 410  # gone: no second attempt
    position = await post.notice("ana")
    await post.tick()
    assert [one.state for one in await post.shown()] == ["GIVEN_UP"]
    receiver.answer = lambda got: 202
    for times in (2, 3):
        await post.do(ResendDelivery, delivery=f"{HOOK}/{position}")
        (shown,) = await post.shown()
        assert (shown.state, shown.next_at) == ("PENDING", clock.now)
        await post.tick()
        (shown,) = await post.shown()
        assert (shown.state, shown.attempts, len(receiver.got)) == ("DELIVERED", times, times)
    assert [one.status for one in shown.history] == [410, 202, 202]
    assert len(set(receiver.ids())) == 1


async def test_a_resent_message_is_repeated_like_a_new_one(post: Post, receiver: Receiver, clock: Clock) -> None:
    receiver.answer = lambda got: 410
    position = await post.notice("ana")
    await post.tick()
    receiver.answer = lambda got: 500
    await post.do(ResendDelivery, delivery=f"{HOOK}/{position}")
    await post.tick()
    (shown,) = await post.shown()
    assert (shown.state, shown.attempts) == ("PENDING", 2)
    assert shown.next_at
    assert BACK_OFF[0] <= shown.next_at - clock.now < BACK_OFF[1]


async def test_a_redirect_is_not_followed(post: Post, receiver: Receiver) -> None:
    receiver.answer = lambda got: 307
    await post.notice("ana")
    await post.tick()
    assert [got.path for got in receiver.got] == ["/hook"]
    (shown,) = await post.shown()
    assert (shown.state, [one.status for one in shown.history]) == ("PENDING", [307])


async def test_failures_have_different_codes(post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.gateways.posting, "TIMEOUT_S", 0.3)
    receiver.answer = receiver.hang
    nobody = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = nobody.sockets[0].getsockname()[1]
    nobody.close()
    await nobody.wait_closed()

    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as mail:
        other = mail.sockets[0].getsockname()[1]
        for name, where in (("nobody", port), ("mail", other), ("beyond", 99_999)):
            url = f"http://127.0.0.1:{where}/"
            await post.do(RegisterWebhook, webhook=name, url=url, name="x", kinds=["notice_given"])
        await post.notice("ana")
        await post.tick()
    found = {name: (await post.shown(name))[0].history[0] for name in (HOOK, "nobody", "mail", "beyond")}
    assert {name: (one.status, one.error) for name, one in found.items()} == {
        HOOK: (None, "timeout"),
        "nobody": (None, "unreachable"),
        "mail": (None, "broken"),
        "beyond": (None, "broken"),
    }


async def test_the_body_of_a_response_is_not_read(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra.gateways.posting, "ANSWER_TIMEOUT_S", 0.2)
    written = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(10_000):
            writer.write(bytes(10_000))
            written += 10_000
            try:
                await writer.drain()
            except OSError:
                break
        writer.close()

    async with await asyncio.start_server(endless, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await post.do(RegisterWebhook, webhook="endless", url=url, name="x", kinds=["notice_given"])
        await post.notice("ana")
        await post.tick()
        (shown,) = await post.shown("endless")
    assert (shown.state, shown.history[0].status) == ("DELIVERED", 200)
    assert written < 50_000_000


async def test_a_slow_receiver_does_not_delay_others(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra.gateways.posting, "TIMEOUT_S", 1.0)
    receiver.answer = receiver.hang
    with receiving() as prompt:
        await post.do(RegisterWebhook, webhook="prompt", url=prompt.url, name="x", kinds=["notice_given"])
        for number in range(12):
            await post.notice(f"p{number}")
        post.projecting.catch_up()
        await post.sender.tick()
        async with asyncio.timeout(SOON_S):
            while len(prompt.got) < 12:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert len(receiver.got) == infra.reactions.webhooks.AT_ONCE_MAX
        receiver.release.set()
        await post.tick()
        assert prompt.at_once_most <= infra.reactions.webhooks.AT_ONCE_MAX
        assert sorted(prompt.ids()) == sorted(set(prompt.ids()))
    assert receiver.at_once_most == infra.reactions.webhooks.AT_ONCE_MAX


async def test_while_the_read_models_lag_nothing_is_sent_twice(post: Post, receiver: Receiver) -> None:
    await post.notice("ana")
    post.projecting.catch_up()
    for _ in range(3):
        await post.look()
    assert len(receiver.got) == 1
    await post.tick()
    assert len(receiver.got) == 1
    assert post.sender._recorded == {}


async def test_a_webhook_receives_events_from_its_registration_on(post: Post, receiver: Receiver, core: Core) -> None:
    before = await post.notice("ana")
    await post.do(RegisterWebhook, webhook="late", url=receiver.url, name="x", kinds=["line_closed"])
    await post.do(RegisterWebhook, webhook="gone", url=receiver.url, name="x", kinds=["notice_given"])
    await post.do(RemoveWebhook, webhook="gone")
    middle = await post.notice("luis")
    await post.do(RegisterWebhook, webhook="late", url=receiver.url, name="x", kinds=["line_closed", "notice_given"])
    after = await post.notice("eva")
    closed = await post.do(CloseLine, line=LINE)
    await post.tick()
    own = {f"{HOOK}/{position}" for position in (before, middle, after, closed)}
    assert set(receiver.ids()) == own | {f"late/{after}", f"late/{closed}"}
    assert len(receiver.got) == 6
    assert [one.position for one in await post.shown("late")] == [closed, after]
    assert await post.shown("gone") == []


async def test_a_new_scheduler_continues_after_the_old_one(
    post: Post, receiver: Receiver, town: Town, clock: Clock
) -> None:
    """A second one, with nothing in mind, sends what the first did not, and nothing else."""
    receiver.answer = lambda got: 500 if got.id.endswith(f"/{failing}") else 200
    failing = await post.notice("ana")
    await post.notice("luis")
    await post.tick()
    last = await post.notice("eva")
    async with posting(town, post.core, post.views, clock) as other:
        await other.tick()
        assert [name.rpartition("/")[2] for name in receiver.ids()[2:]] == [str(last)]
        clock.wait(10)
        receiver.answer = lambda got: 200
        await other.tick()
    assert receiver.ids()[3:] == [f"{HOOK}/{failing}"]


async def test_a_long_outbox_is_searched_in_steps(
    post: Post, receiver: Receiver, town: Town, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever begins with nothing in mind finds the one that was never tried, however far it is."""
    monkeypatch.setattr(infra.reactions.webhooks, "STRETCH_EVENTS", 3)
    for number in range(10):
        await post.notice(f"p{number}")
    for _ in range(8):
        await post.tick()
    assert len(receiver.got) == 10
    last = await post.notice("last")
    async with posting(town, post.core, post.views, clock) as other:
        ticks = 0
        while len(receiver.got) == 10:
            await other.tick()
            ticks += 1
        assert ticks == 4
    assert receiver.ids()[10:] == [f"{HOOK}/{last}"]


async def test_an_unrecorded_attempt_keeps_its_slot(
    post: Post, receiver: Receiver, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra.reactions.webhooks, "RECORD_PAUSE_S", 0.02)
    count = infra.reactions.webhooks.AT_ONCE_MAX + 2
    for number in range(count):
        await post.notice(f"p{number}")
    post.projecting.catch_up()
    with monkeypatch.context() as patch:
        patch.setattr(core.committer, "queue_max", 0)  # as overloaded as it gets
        for _ in range(20):
            await post.sender.tick()
            await post.sender.idle(0.05)
        assert len(receiver.got) == infra.reactions.webhooks.AT_ONCE_MAX
    await post.sender.idle()
    await post.tick()
    assert len(receiver.got) == len(set(receiver.ids())) == count
    assert {(one.state, one.attempts) for one in await post.shown()} == {("DELIVERED", 1)}


async def test_without_a_writable_log_nothing_is_sent_twice(
    post: Post, receiver: Receiver, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra.reactions.webhooks, "RECORD_PAUSE_S", 0.05)
    await post.notice("ana")
    post.projecting.catch_up()
    role = town.application_parameters["user"]
    town.execute(f"REVOKE INSERT ON events FROM {role}")
    for _ in range(10):
        await post.sender.tick()
        await post.sender.idle(0.1)
    assert [(one.state, one.attempts) for one in await post.shown()] == [("PENDING", 0)]
    town.execute(f"GRANT INSERT ON events TO {role}")
    await post.sender.idle()
    assert len(receiver.got) == 1
    assert [(one.state, one.attempts) for one in await post.shown()] == [("DELIVERED", 1)]


async def test_the_next_scheduler_resends_unrecorded_attempts(
    post: Post, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra.reactions.webhooks, "STOP_WAIT_S", 0.5)
    await post.notice("ana")
    with monkeypatch.context() as patch:
        patch.setattr(post.core.committer, "queue_max", 0)
        async with another(post, clock) as first:
            await first.tick()
    assert len(receiver.got) == 1
    await post.tick()
    assert len(receiver.got) == 2
    assert len(set(receiver.ids())) == 1
    assert [(one.state, one.attempts) for one in await post.shown()] == [("DELIVERED", 1)]


async def test_another_scheduler_s_record_counts_despite_lag(post: Post, receiver: Receiver, clock: Clock) -> None:
    """Both have it in hand, as when one was frozen: the second finds the attempt recorded, with another answer."""
    receiver.answer = receiver.hang
    await post.notice("ana")
    async with another(post, clock) as other:
        for one in (post.sender, other):
            await one.tick()
        async with asyncio.timeout(SOON_S):
            while len(receiver.got) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        (delivery,) = set(receiver.ids())
        record = build(RecordAttempt, delivery=delivery, attempt=1, status=410)
        await post.core.committer.submit(record, Key(ACTOR, f"attempt:{delivery}:1"))
        receiver.release.set()
        for _ in range(3):
            for one in (post.sender, other):
                await one.idle()
                await one.tick()
    assert len(receiver.got) == 2
    assert [(one.state, one.attempts) for one in await post.shown()] == [("GIVEN_UP", 1)]


async def begin_many(post: Post, receiver: Receiver) -> int:
    """As many under way as there may be, and some that wait for a place: how many in all."""
    receiver.answer = receiver.hang
    count = infra.reactions.webhooks.AT_ONCE_MAX + 2
    for number in range(count):
        await post.notice(f"p{number}")
    post.projecting.catch_up()
    await post.sender.tick()
    async with asyncio.timeout(SOON_S):
        while len(receiver.got) < infra.reactions.webhooks.AT_ONCE_MAX:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return count


async def go_on(post: Post, receiver: Receiver) -> None:
    post.projecting.catch_up()
    await post.sender.tick()
    receiver.release.set()
    await post.sender.idle()


async def test_a_waiting_message_of_a_removed_webhook_is_not_sent(post: Post, receiver: Receiver) -> None:
    await begin_many(post, receiver)
    await post.do(RemoveWebhook, webhook=HOOK)
    await go_on(post, receiver)
    assert len(receiver.got) == infra.reactions.webhooks.AT_ONCE_MAX


async def test_a_waiting_message_goes_to_the_new_url(post: Post, receiver: Receiver) -> None:
    count = await begin_many(post, receiver)
    with receiving() as elsewhere:
        moved = {"webhook": HOOK, "url": elsewhere.url, "name": "SMS", "kinds": ["notice_given"], "generation": 2}
        await post.do(RegisterWebhook, **moved)
        await go_on(post, receiver)
        assert (len(receiver.got), len(elsewhere.got)) == (
            infra.reactions.webhooks.AT_ONCE_MAX,
            count - len(receiver.got),
        )
        signing = post.core.secret.webhook_key(HOOK, 2)
        for got in elsewhere.got:
            signed = infra.reactions.webhooks.signed(signing, got.id, got.body, post.sender._clock())
            assert got.headers["webhook-signature"] == signed["webhook-signature"]


async def test_a_new_scheduler_reads_waiting_messages_again(post: Post, receiver: Receiver) -> None:
    """Another may have sent it meanwhile."""
    count = await begin_many(post, receiver)
    await post.sender.begin()
    receiver.release.set()
    await post.sender.idle()
    assert len(receiver.got) == infra.reactions.webhooks.AT_ONCE_MAX
    await post.tick()
    assert len(receiver.got) == len(set(receiver.ids())) == count


async def test_a_call_counts_as_the_notice(post: Post, receiver: Receiver) -> None:
    """Who was called need not be told any more."""
    for name in ("ana", "luis"):
        await take(post.core, name)
    await post.do(AskNotice, turn=turn_of("luis"), ahead=0)
    await post.tick()
    assert receiver.got == []
    called = await post.do(CallNext, line=LINE, counter=1)
    await post.tick()
    (got,) = receiver.got
    assert msgspec.json.decode(got.body)["data"]["number"] == "A-002"
    assert int(got.id.partition("/")[2]) == called


async def test_the_docs_receiver_accepts_only_signed_messages(
    post: Post, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    program: dict[str, Any] = {}
    exec(example[0], program)  # noqa: S102 (our own docs)
    receive = program["receive"]
    secret = secret_text(post.core.secret, HOOK, 1)
    position = await post.notice("ana")
    await post.tick()
    (got,) = receiver.got
    monkeypatch.setattr("time.time", lambda: clock().timestamp())
    assert receive(secret, got.headers, got.body)["position"] == str(position)
    other = {**got.headers, "webhook-id": "sms-gateway/1"}
    later = {**got.headers, "webhook-timestamp": str(int(clock.now.timestamp()) + 1)}
    unsigned = {**got.headers, "webhook-signature": "v1,"}
    for wrong in (other, later, unsigned):
        with pytest.raises(ValueError, match="not signed"):
            receive(secret, wrong, got.body)
    with pytest.raises(ValueError, match="not signed"):
        receive(secret, got.headers, got.body.replace(b"A-001", b"A-002"))
    for unlike in (secret_text(post.core.secret, HOOK, 2), secret_text(post.core.secret, "other", 1)):
        with pytest.raises(ValueError, match="not signed"):
            receive(unlike, got.headers, got.body)
    clock.wait(301)
    with pytest.raises(ValueError, match="long ago"):
        receive(secret, got.headers, got.body)


async def test_the_library_s_receiver_accepts_only_signed_messages(
    post: Post, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TestTime(datetime):
        """The library's clock shows the time of the test."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "TestTime":
            return cls.fromtimestamp(clock().timestamp(), tz)

    monkeypatch.setattr("standardwebhooks.webhooks.datetime", TestTime)
    position = await post.notice("ana")
    await post.tick()
    (got,) = receiver.got
    library = Webhook(secret_text(post.core.secret, HOOK, 1))
    assert library.verify(got.body, dict(got.headers))["position"] == str(position)
    with pytest.raises(WebhookVerificationError):
        library.verify(got.body.replace(b"A-001", b"A-002"), dict(got.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_text(post.core.secret, HOOK, 2)).verify(got.body, dict(got.headers))
    clock.wait(301)
    with pytest.raises(WebhookVerificationError, match="too old"):
        library.verify(got.body, dict(got.headers))


async def test_a_new_generation_signs_with_another_secret(post: Post, receiver: Receiver) -> None:
    receiver.answer = lambda got: 500
    await post.notice("ana")
    await post.tick()
    kinds = ["notice_given"]
    await post.do(RegisterWebhook, webhook=HOOK, url=receiver.url, name="SMS", kinds=kinds, generation=2)
    (shown,) = await post.shown()
    await post.do(ResendDelivery, delivery=shown.delivery)
    await post.tick()
    first, second = receiver.got
    assert (first.id, first.body, first.headers["webhook-timestamp"]) == (
        second.id, second.body, second.headers["webhook-timestamp"],
    )  # fmt: skip
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
