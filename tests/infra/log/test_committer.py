"""The committer: commands are decided and appended together, and answered one by one."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest
from msgspec.structs import replace

import infra.log.committer
import infra.postgres.connections
from domain import people
from domain.appointments.agenda import Agenda
from domain.appointments.booking import SlotUnknown
from domain.appointments.cancelling import CancelAppointment
from domain.appointments.holding import HoldSlot
from domain.decider import Command, Decided, build
from domain.decision import DECISIONS, Decision
from domain.errors import Rejected
from domain.obligations import taxable_object
from domain.obligations.taxable_object import RegisterTaxableObject
from domain.people import dependants
from infra.log.batch import Appended, Batch, Conflict
from infra.log.cache import STREAM_BYTES, StateCache
from infra.log.committer import BATCH_COMMANDS_MAX, CONFLICTS_BEFORE_LOCK_MAX, HALVE_FROM_COMMANDS, Committer
from infra.log.core import Core
from infra.log.draft import Draft
from infra.log.log import Loaded, Log
from infra.log.submission import Outcome
from infra.postgres.connections import Unavailable
from tests.city import AGENDA, agenda, booking, hospital, key, opaque, open_agenda, person
from tests.conftest import Clock
from tests.towns import Town

pytestmark = pytest.mark.anyio


def codes(answers: Iterable[Outcome | BaseException]) -> Counter[str]:
    return Counter(answer.code if isinstance(answer, Rejected) else type(answer).__name__ for answer in answers)


async def test_a_booking_writes_the_agenda_and_the_patient_in_one_commit(core: Core, town: Town) -> None:
    await open_agenda(core)
    outcome = await core.committer.submit(booking(1, "ana"), key("b"), correlation="c-1")
    rows = town.execute(
        "SELECT position, stream, version, event, actor, command_id, correlation_id FROM event_log WHERE position > 2"
    )
    assert rows == [
        (3, f"agenda/{AGENDA}", 2, "appointment_booked.v1", "test", town.secret.key_name("test", "b"), "c-1"),
        (4, f"patient/{opaque('ana')}", 1, "visit_taken.v1", "test", town.secret.key_name("test", "b"), "c-1"),
    ]
    assert outcome.position == 4
    assert not outcome.replayed


async def test_of_concurrent_bookings_of_a_slot_one_succeeds(core: Core) -> None:
    await open_agenda(core)
    answers = await asyncio.gather(
        *(core.committer.submit(booking(1, f"patient {n}"), key(f"b{n}")) for n in range(50)), return_exceptions=True
    )
    assert codes(answers) == {"Outcome": 1, "slot_taken": 49}


async def test_two_processes_never_book_a_slot_twice(core: Core, town: Town, other_committer: Committer) -> None:
    await open_agenda(core, slots=30)
    answers = await asyncio.gather(
        *(
            committer.submit(booking(1 + n % 30, f"patient {name} {n}"), key(f"{name} {n}"))
            for n in range(60)
            for name, committer in (("one", core.committer), ("other", other_committer))
        ),
        return_exceptions=True,
    )
    assert codes(answers) == {"Outcome": 30, "slot_taken": 90}
    booked = town.execute("SELECT state->>'slot' FROM event_log WHERE event = 'appointment_booked.v1'")
    assert len(booked) == len(set(booked)) == 30
    assert town.execute("SELECT max(position), count(*) FROM event_log") == [(62, 62)]


async def test_a_repeated_key_returns_the_first_outcome(core: Core, town: Town) -> None:
    await open_agenda(core)
    first = await core.committer.submit(booking(1, "ana"), key("b"))
    again = await core.committer.submit(booking(1, "ana"), key("b"))
    assert (again.position, again.replayed) == (first.position, True)
    assert town.execute("SELECT count(*) FROM events") == [(4,)]


async def test_concurrent_requests_with_one_key_are_one_booking(core: Core, town: Town) -> None:
    await open_agenda(core)
    answers = await asyncio.gather(*(core.committer.submit(booking(1, "ana"), key("b")) for _ in range(5)))
    assert len({answer.position for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert town.execute("SELECT count(*) FROM events") == [(4,)]


async def test_a_key_with_other_content_is_refused(core: Core, town: Town) -> None:
    await open_agenda(core)
    await core.committer.submit(booking(1, "ana"), key("b"))
    with pytest.raises(Rejected, match="idempotency_key_reused"):
        await core.committer.submit(booking(2, "luis"), key("b"))
    assert town.execute("SELECT count(*) FROM events") == [(4,)]


async def test_keys_of_different_actors_are_independent(core: Core) -> None:
    await open_agenda(core)
    await core.committer.submit(booking(1, "ana"), key("b", actor="one"))
    outcome = await core.committer.submit(booking(2, "luis"), key("b", actor="other"))
    assert not outcome.replayed


async def test_a_refused_command_leaves_its_key_free(core: Core) -> None:
    await open_agenda(core)
    with pytest.raises(Rejected, match="slot_unknown"):
        await core.committer.submit(booking(99, "ana"), key("b"))
    assert not (await core.committer.submit(booking(1, "ana"), key("b"))).replayed


async def test_an_accepted_command_stays_accepted_when_repeated(core: Core, clock: Clock) -> None:
    await open_agenda(core)
    hold = build(HoldSlot, hold=opaque("hold"), agenda=AGENDA, slot=1, patient=opaque("ana"), hold_s=300)
    first = await core.committer.submit(hold, key("h"))
    clock.wait(301)
    await core.committer.submit(booking(1, "luis"), key("b"))
    again = await core.committer.submit(hold, key("h"))
    assert (again.position, again.replayed) == (first.position, True)


async def test_a_repeat_after_seven_days_has_no_second_effect(core: Core, town: Town) -> None:
    await open_agenda(core)
    await core.committer.submit(booking(1, "ana"), key("b"))
    town.execute("UPDATE commands SET recorded_at = recorded_at - interval '7 days'")
    again = await core.committer.submit(booking(1, "ana"), key("b"))
    assert not again.replayed
    assert town.execute("SELECT count(*) FROM events") == [(4,)]
    assert (await core.committer.submit(booking(1, "ana"), key("b"))).replayed


async def test_only_the_owner_removes_old_keys(core: Core, town: Town) -> None:
    await open_agenda(core)
    old = town.secret.key_name("test", "hospital")
    town.execute("UPDATE commands SET recorded_at = recorded_at - interval '7 days' WHERE key = %s", old)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        town.execute("SELECT forget_old_commands()", owner=False)
    assert town.execute("SELECT forget_old_commands()") == [(1,)]
    assert town.execute("SELECT key::text FROM commands") == [(str(UUID(town.secret.key_name("test", "agenda"))),)]


async def test_commands_of_one_batch_see_each_other(core: Core) -> None:
    await open_agenda(core)
    book = booking(1, "ana")
    cancel = build(CancelAppointment, appointment=book.appointment)
    answers = await asyncio.gather(
        core.committer.submit(book, key("1")),
        core.committer.submit(cancel, key("2")),
        core.committer.submit(booking(1, "luis"), key("3")),
    )
    assert [answer.position for answer in answers] == [4, 6, 8]


async def test_a_command_without_events_has_the_position_of_its_streams(core: Core) -> None:
    await open_agenda(core)
    answers = await asyncio.gather(
        core.committer.submit(agenda(practitioner="p-02", specialty="cardiology"), key("1")),
        core.committer.submit(agenda(practitioner="p-02", specialty="cardiology"), key("2")),
    )
    assert [answer.position for answer in answers] == [3, 3]


async def test_commands_of_several_batches_are_answered_in_order(core: Core) -> None:
    await open_agenda(core, slots=BATCH_COMMANDS_MAX + 50)
    answers = await asyncio.gather(
        *(core.committer.submit(booking(n, f"p{n}"), key(f"b{n}")) for n in range(1, BATCH_COMMANDS_MAX + 51))
    )
    positions = [answer.position for answer in answers]
    assert positions == sorted(positions)
    assert positions[-1] == 2 + 2 * len(answers)


async def test_commands_beyond_the_queue_limit_are_refused_at_once(town: Town, clock: Clock) -> None:
    log = Log(town.application, schema=town.schema, secret=town.secret)
    await log.open()
    committer = Committer(log, secret=town.secret, queue_max=3, clock=clock)
    waiting = [asyncio.ensure_future(committer.submit(hospital(f"h-{n}"), key(f"{n}"))) for n in range(5)]
    await asyncio.sleep(0)
    committer.start()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    await committer.stop()
    await log.close()
    assert codes(answers) == {"Outcome": 3, "overloaded": 2}


async def test_stopping_finishes_waiting_commands_and_refuses_new_ones(town: Town, clock: Clock) -> None:
    log = Log(town.application, schema=town.schema, secret=town.secret)
    await log.open()
    committer = Committer(log, secret=town.secret, queue_max=1_000, clock=clock)
    committer.start()
    waiting = [asyncio.ensure_future(committer.submit(hospital(f"h-{n}"), key(f"{n}"))) for n in range(300)]
    await asyncio.sleep(0)
    await committer.stop()
    with pytest.raises(Rejected, match="overloaded"):
        await committer.submit(hospital("late"), key("late"))
    await log.close()
    assert all(outcome.result().position for outcome in waiting)
    assert town.execute("SELECT count(*) FROM events") == [(300,)]


async def test_a_lost_connection_is_settled_by_the_keys(core: Core, town: Town) -> None:
    await open_agenda(core, slots=200)
    town_gone = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'igob_app'"

    async def cut() -> None:
        for _ in range(4):
            await asyncio.sleep(0.02)
            await asyncio.to_thread(town.execute, town_gone)

    async def book() -> list[Outcome]:
        return [await core.committer.submit(booking(n, f"p{n}"), key(f"b{n}")) for n in range(1, 101)]

    outcomes, _ = await asyncio.gather(book(), cut())
    assert len(outcomes) == 100
    booked = town.execute("SELECT state->>'slot' FROM event_log WHERE event = 'appointment_booked.v1'")
    assert len(booked) == len(set(booked)) == 100


async def test_a_failing_command_does_not_fail_its_batch(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    await open_agenda(core)
    poison = booking(2, "poison")

    def encode(self: object, event: object, key: bytes | None = None, *, real=core.log._codec.encode) -> bytes:  # type: ignore[no-untyped-def]
        if getattr(event, "appointment", "") == poison.appointment:
            raise ZeroDivisionError
        return bytes(real(event, key))

    monkeypatch.setattr(type(core.log._codec), "encode", encode)
    answers = await asyncio.gather(
        core.committer.submit(booking(1, "ana"), key("1")),
        core.committer.submit(poison, key("2")),
        core.committer.submit(booking(3, "luis"), key("3")),
        return_exceptions=True,
    )
    assert codes(answers) == {"Outcome": 2, "ZeroDivisionError": 1}


async def test_a_cancelled_caller_does_not_affect_others(core: Core) -> None:
    await open_agenda(core)
    gone = asyncio.ensure_future(core.committer.submit(booking(1, "ana"), key("1")))
    stays = asyncio.ensure_future(core.committer.submit(booking(2, "luis"), key("2")))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).position > 0
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_hanging_database_is_unavailable_until_it_answers(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra.postgres.connections, "READ_TIMEOUT_S", 0.2)
    monkeypatch.setattr(infra.postgres.connections, "APPEND_TIMEOUT_S", 0.2)
    monkeypatch.setattr(infra.log.committer, "SETTLE_PAUSE_S", 0.01)
    monkeypatch.setattr(infra.log.committer, "SETTLE_FOR_S", 0.5)
    await open_agenda(core)
    with psycopg.connect(town.owner) as holding:
        holding.execute(f"LOCK TABLE {town.schema}.events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable):
            await core.log.head()
        with pytest.raises(Rejected, match="unavailable"):
            await core.committer.submit(booking(1, "ana"), key("b"))
        holding.rollback()
    assert (await core.committer.submit(booking(1, "ana"), key("b"))).position == 4


async def test_the_committer_waits_for_the_log_s_lock(core: Core, town: Town) -> None:
    await open_agenda(core)
    with psycopg.connect(town.application) as holding:
        holding.execute(f"SELECT {town.schema}.lock_log()")
        waiting = asyncio.ensure_future(core.committer.submit(booking(1, "ana"), key("b")))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        holding.rollback()
    assert (await waiting).position == 4


async def test_after_two_conflicts_the_log_is_locked_before_reading(
    core: Core, town: Town, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer changes the agenda before each append: without the lock the command would never succeed."""
    await open_agenda(core, slots=30)
    other_log = Log(town.application, schema=town.schema, secret=town.secret)
    other = Committer(other_log, secret=town.secret, queue_max=10, clock=clock)
    await other_log.open()
    other.start()
    append, slots = core.log.append, iter(range(2, 30))
    tried: list[None] = []

    async def append_late(batch: Batch) -> Appended | Conflict:
        tried.append(None)
        rival = asyncio.ensure_future(other.submit(booking(next(slots), f"rival {len(tried)}"), key(f"r{len(tried)}")))
        await asyncio.sleep(0.1)  # in which the rival gets through, unless the log is locked
        rivals.append(rival)
        return await append(batch)

    rivals: list[asyncio.Future[Outcome]] = []
    monkeypatch.setattr(core.log, "append", append_late)
    outcome = await core.committer.submit(booking(1, "ana"), key("b"))
    await asyncio.gather(*rivals)
    assert outcome.position
    assert len(tried) == 1 + CONFLICTS_BEFORE_LOCK_MAX + 1
    await other.stop()
    await other_log.close()


async def test_states_are_cached_within_a_limit_and_never_personal_data(core: Core, town: Town, clock: Clock) -> None:
    cache = StateCache(bytes_max=60_000)
    log = Log(town.application, schema=town.schema, secret=town.secret)
    committer = Committer(log, secret=town.secret, queue_max=1_000, clock=clock, cache=cache)
    await log.open()
    committer.start()
    await open_agenda(core, slots=200)
    for n in range(1, 101):
        await committer.submit(booking(n, f"p{n}"), key(f"b{n}"))
        assert cache.weight_bytes <= 60_000
    assert len(cache) > 10
    await committer.submit(person("Ana", core), key("person"))
    assert cache.get(f"person/{opaque('Ana')}") is None
    await committer.stop()
    await log.close()


async def test_a_guardian_s_state_is_never_cached(core: Core, town: Town, clock: Clock) -> None:
    """Plain events follow personal ones: in one batch, in the next one, and much later."""
    cache = StateCache()
    committer = Committer(core.log, secret=town.secret, queue_max=1_000, clock=clock, cache=cache)
    committer.start()
    ana, children = opaque("Ana"), [f"child{n}" for n in range(8)]
    guardian = dependants.stream(ana)
    for n, name in enumerate(["Ana", *children]):
        born = date(1990, 5, 17) if name == "Ana" else date(2015, 3, 9)
        await committer.submit(replace(person(name, core, ci=str(5_000_000 + n)), birth_date=born), key(name))

    async def declared_and_confirmed(name: str) -> None:
        fields = {"guardian": ana, "dependant": opaque(name), "relation": "MINOR"}
        declare = build(dependants.DeclareDependant, **fields, declared_by=opaque("clerk"))
        confirm = build(dependants.ConfirmDependant, **fields, confirmed_by=opaque("officer"))
        await asyncio.gather(committer.submit(declare, key(f"d {name}")), committer.submit(confirm, key(f"c {name}")))

    end = build(dependants.EndDependency, guardian=ana, dependant=opaque("child0"))
    with pytest.raises(Rejected, match="dependency_unknown"):
        await committer.submit(end, key("end"))
    assert cache.get(guardian) is not None  # as long as nothing personal is in it
    await declared_and_confirmed("child0")
    assert cache.get(guardian) is None
    await asyncio.gather(*map(declared_and_confirmed, children[1:]))
    assert cache.get(guardian) is None
    await committer.submit(end, key("end"))
    assert cache.get(guardian) is None

    await committer.submit(build(people.ErasePerson, person=opaque("child1")), key("erase"))
    draft = Draft(core.log.batch())
    await committer._decider.provide([guardian], draft)
    known = list(draft.work[guardian].current().dependants.values())
    assert [fields.until is None for fields in known] == [False, True] + [False] * 6
    assert [fields.ended for fields in known] == [True] + [False] * 7
    await committer.stop()


async def test_loaded_states_respect_the_cache_limit(core: Core, town: Town, clock: Clock) -> None:
    cache = StateCache(bytes_max=2 * STREAM_BYTES)
    committer = Committer(core.log, secret=town.secret, queue_max=10, clock=clock, cache=cache)
    draft = Draft(core.log.batch())
    streams = [f"agenda/h/2027-01-05/p-{n}" for n in range(10)]
    await committer._decider.provide(streams, draft)
    assert len(cache) == 2
    assert list(draft.work) == streams


async def test_commands_decided_on_a_failed_batch_are_decided_again(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second booking of the slot is decided while the first is being written; then the first is lost."""
    await open_agenda(core)
    append = core.log.append
    lost: list[Batch] = []

    async def append_slowly(batch: Batch) -> Appended | Conflict:
        await asyncio.sleep(0.1)
        if batch.events and not lost:
            lost.append(batch)
            raise ZeroDivisionError
        return await append(batch)

    monkeypatch.setattr(core.log, "append", append_slowly)
    first = asyncio.ensure_future(core.committer.submit(booking(1, "ana"), key("1")))
    await asyncio.sleep(0.05)
    second = asyncio.ensure_future(core.committer.submit(booking(1, "luis"), key("2")))
    answers = await asyncio.gather(first, second, return_exceptions=True)
    assert codes(answers) == {"Outcome": 1, "slot_taken": 1}
    assert len(lost) == 1
    assert town.execute("SELECT count(*) FROM event_log WHERE event = 'appointment_booked.v1'") == [(1,)]


async def test_a_written_batch_is_answered_even_if_the_next_fails(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    append, gone = core.log.append, asyncio.Event()

    async def append_then_go(batch: Batch) -> Appended | Conflict:
        if gone.is_set():
            raise Unavailable
        await asyncio.sleep(0.05)  # in which the next comes
        answer = await append(batch)
        gone.set()
        return answer

    async def load_nothing(streams: Iterable[str]) -> dict[str, Loaded]:
        await gone.wait()
        raise Unavailable

    first = asyncio.ensure_future(core.committer.submit(booking(1, "ana"), key("1")))
    monkeypatch.setattr(core.log, "append", append_then_go)
    await asyncio.sleep(0.03)
    monkeypatch.setattr(core.log, "load", load_nothing)
    monkeypatch.setattr(infra.log.committer, "SETTLE_FOR_S", 0.5)
    second = asyncio.ensure_future(core.committer.submit(booking(2, "luis"), key("2")))
    assert (await asyncio.wait_for(first, 1)).position == 4
    assert not second.done()
    with pytest.raises(Rejected, match="unavailable"):
        await second


async def test_commands_behind_unsettled_ones_are_unavailable_too(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.log.committer, "SETTLE_FOR_S", 0.5)
    await open_agenda(core)

    async def no_append(batch: Batch) -> Appended | Conflict:
        raise Unavailable

    monkeypatch.setattr(core.log, "append", no_append)
    first = asyncio.ensure_future(core.committer.submit(booking(1, "ana"), key("1")))
    await asyncio.sleep(0.4)
    assert core.committer.waited_s > 0.3
    second = asyncio.ensure_future(core.committer.submit(booking(2, "luis"), key("2")))
    begun = time.monotonic()
    answers = await asyncio.gather(first, second, return_exceptions=True)
    assert codes(answers) == {"unavailable": 2}
    assert time.monotonic() - begun < 2
    assert core.committer.waited_s == 0


async def test_a_frozen_process_with_the_lock_does_not_stop_others(
    core: Core, town: Town, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    quick = infra.postgres.connections.CONNECTION["options"].replace(
        f"timeout={infra.postgres.connections.LOCK_HELD_IDLE_S}s", "timeout=1s"
    )
    monkeypatch.setitem(infra.postgres.connections.CONNECTION, "options", quick)
    frozen = Log(town.application, schema=town.schema, secret=town.secret)
    await frozen.open()
    with pytest.raises(Unavailable):
        async with frozen.locked():
            assert (await core.committer.submit(booking(1, "ana"), key("b"))).position == 4
    await frozen.close()


async def test_updated_cached_states_are_weighed_again(town: Town, clock: Clock, core: Core) -> None:
    """Events of another process are loaded with the log locked."""
    cache = StateCache()
    other_log = Log(town.application, schema=town.schema, secret=town.secret)
    other = Committer(other_log, secret=town.secret, queue_max=10, clock=clock, cache=cache)
    await other_log.open()
    agenda_stream, person_stream = f"agenda/{AGENDA}", people.stream(opaque("Ana"))
    for name, loaded in (await other_log.load([agenda_stream, person_stream])).items():
        cache.put(name, loaded)
    await open_agenda(core, slots=200)
    await core.committer.submit(person("Ana", core), key("p"))
    await other._decider.provide([agenda_stream, person_stream], Draft(other_log.batch(), fresh=True))
    await other_log.close()
    found = cache.get(agenda_stream)
    assert found is not None
    assert len(found.state.slots) == 200
    assert cache.weight_bytes == found.weight_bytes + STREAM_BYTES > 5_000
    assert cache.get(person_stream) is None
    cache.drop(agenda_stream)
    assert cache.weight_bytes == 0


class CompareSlots(Command):
    """Reads one stream twice."""


class ReadOn(Command):
    """Reads one more stream in every round."""


def agree(_: Command, *agendas: Agenda, now: datetime) -> Decided:
    if any(agenda != agendas[0] for agenda in agendas):
        raise SlotUnknown(slot=1, limit=0)
    yield from ()


async def test_the_rounds_of_reads_are_limited(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    decisions: dict[Any, Decision] = cast("Any", DECISIONS)

    def read_twice(_: Command) -> tuple[str, ...]:
        return (f"agenda/{AGENDA}",) * 2

    def read_on(_: Command, found: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(f"agenda/h/2027-01-05/p-{n}" for n in range(len(found) + 1))

    monkeypatch.setitem(decisions, CompareSlots, Decision(reads=read_twice, decide=agree, asks_again=False))
    monkeypatch.setitem(decisions, ReadOn, Decision(reads=read_on, decide=agree, asks_again=True))
    await open_agenda(core)
    assert (await core.committer.submit(CompareSlots(), key("1"))).position == 2
    with pytest.raises(RuntimeError, match="reads more in every round"):
        await core.committer.submit(ReadOn(), key("2"))


async def test_a_written_batch_is_answered_at_once_under_load(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    await open_agenda(core, slots=200)
    load = core.log.load

    async def load_slowly(streams: Iterable[str]) -> dict[str, Loaded]:
        await asyncio.sleep(0.02)
        return await load(streams)

    monkeypatch.setattr(core.log, "load", load_slowly)
    first = asyncio.ensure_future(core.committer.submit(booking(1, "ana"), key("1")))
    more = []
    for n in range(2, 150):  # never is there a moment at which nobody came
        more.append(asyncio.ensure_future(core.committer.submit(booking(n, f"p{n}"), key(f"{n}"))))
        await asyncio.sleep(0.01)
        if first.done():
            break
    assert len(more) < 100
    await asyncio.gather(first, *more)


async def test_a_cached_state_weighs_as_much_as_its_events(core: Core, town: Town, clock: Clock) -> None:
    cache = StateCache()
    log = Log(town.application, schema=town.schema, secret=town.secret)
    committer = Committer(log, secret=town.secret, queue_max=1_000, clock=clock, cache=cache)
    await log.open()
    committer.start()
    await committer.submit(hospital(), key("hospital"))
    await committer.submit(agenda(2_000), key("agenda"))
    await committer.submit(booking(1, "ana"), key("b"))
    await committer.stop()
    await log.close()
    ((stored,),) = town.execute("SELECT sum(octet_length(state)) FROM events")
    assert cache.weight_bytes == int(str(stored)) + 3 * STREAM_BYTES


async def test_missed_events_in_an_answer_are_limited(core: Core) -> None:
    """Otherwise a frozen client would keep the log's lock by not reading the answer."""
    await open_agenda(core, slots=5_000)
    batch = core.log.batch()
    batch.read.update({f"agenda/{AGENDA}": 0, "hospital/la-merced": 0})
    answer = await core.log.append(batch)
    assert isinstance(answer, Conflict)
    assert answer.stale == {f"agenda/{AGENDA}": 1, "hospital/la-merced": 1}
    assert f"agenda/{AGENDA}" not in answer.missed


async def test_a_key_in_a_lost_batch_and_the_next_is_settled(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    append = core.log.append
    sizes: list[int] = []

    async def append_lost_at_first(batch: Batch) -> Appended | Conflict:
        sizes.append(len(batch.commands))
        if len(sizes) == 1:
            await asyncio.sleep(0.1)  # in which the others come
            raise Unavailable
        return await append(batch)

    monkeypatch.setattr(core.log, "append", append_lost_at_first)
    asked = [asyncio.ensure_future(core.committer.submit(booking(1, "ana"), key("1")))]
    await asyncio.sleep(0.05)
    asked += [asyncio.ensure_future(core.committer.submit(booking(1, "ana"), key("1")))]
    asked += [asyncio.ensure_future(core.committer.submit(booking(n, f"p{n}"), key(f"{n}"))) for n in range(2, 5)]
    answers = await asyncio.gather(*asked)
    assert [answer.replayed for answer in answers] == [False, True, False, False, False]
    assert answers[0].position == answers[1].position
    assert sizes == [1, 4, 1]
    assert town.execute("SELECT count(*) FROM events") == [(10,)]


@pytest.mark.parametrize(
    ("number", "first"), [(1, 1), (HALVE_FROM_COMMANDS - 1, HALVE_FROM_COMMANDS - 1), (HALVE_FROM_COMMANDS, 32)]
)
async def test_half_of_many_waiting_commands_is_sent_first(
    core: Core, monkeypatch: pytest.MonkeyPatch, number: int, first: int
) -> None:
    await open_agenda(core, slots=100)
    append = core.log.append
    sizes: list[int] = []

    def counted(batch: Batch) -> asyncio.Future[Appended | Conflict]:
        sizes.append(len(batch.commands))
        return append(batch)

    monkeypatch.setattr(core.log, "append", counted)
    await asyncio.gather(*(core.committer.submit(booking(n, f"p{n}"), key(f"b{n}")) for n in range(1, number + 1)))
    assert sizes[0] == first
    assert sum(sizes) == number


async def test_a_command_is_submitted_before_its_future_is_awaited(core: Core) -> None:
    waiting = core.committer.submit(hospital(), key("h"))
    assert core.committer.waiting_commands == 1
    assert (await waiting).position == 1


def house(number: int, cadastral_code: str) -> RegisterTaxableObject:
    """A command that names a stream only after it has read another."""
    return build(
        RegisterTaxableObject,
        kind="PROPERTY",
        number=str(number),
        owner=opaque("Ana"),
        since=date(2010, 5, 3),
        cadastral_code=cadastral_code,
    )


async def test_streams_named_in_a_second_round_are_loaded_for_the_whole_batch(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = core.log.load
    loaded: list[int] = []

    async def counted(streams: Iterable[str], **options: Any) -> dict[str, Loaded]:
        names = list(streams)
        loaded.append(len(names))
        return await load(names, **options)

    monkeypatch.setattr(core.log, "load", counted)
    number = HALVE_FROM_COMMANDS - 1  # all in one batch
    codes_of = [f"0320123{n:04d}" for n in range(number)]
    await asyncio.gather(*(core.committer.submit(house(n, code), key(code)) for n, code in enumerate(codes_of)))
    assert loaded == [number, number]
    assert (await core.log.state(taxable_object.stream("property-7"))).registered


async def test_a_stream_named_in_a_second_round_is_read_as_the_batch_leaves_it(core: Core) -> None:
    codes_of = ["03201230004", "03201230005", "03201230004"]
    answers = await asyncio.gather(
        *(core.committer.submit(house(n, code), key(f"h{n}")) for n, code in enumerate(codes_of)),
        return_exceptions=True,
    )
    assert codes(answers) == {"Outcome": 2, "cadastral_code_in_use": 1}
    assert isinstance(answers[2], Rejected)
