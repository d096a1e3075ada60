"""Many who ask for people at the same time are answered by few questions, each with what is true when they ask."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from api.access.person_lookup import PersonLookup
from domain import people
from domain.decider import build
from infra.log.committer import Committer
from infra.log.core import Core
from infra.log.log import Loaded
from infra.postgres.connections import Unavailable
from tests.city import key, opaque, person

pytestmark = pytest.mark.anyio


@pytest.fixture
def asked(core: Core, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The streams of each question."""
    questions: list[list[str]] = []
    load = core.log.load

    async def loading(streams: Iterable[str], **options: Any) -> dict[str, Loaded]:
        questions.append(list(streams))
        return await load(questions[-1], **options)

    monkeypatch.setattr(core.log, "load", loading)
    return questions


async def knows(person_lookup: PersonLookup, person: str) -> bool:
    found: people.Person = await person_lookup.state(people.stream(person))
    return found.known


async def register(committer: Committer, core: Core, name: str, identity: str) -> str:
    await committer.submit(person(name, core, ci=identity), key(name))
    return opaque(name)


async def test_concurrent_lookups_share_two_queries(core: Core, asked: list[list[str]]) -> None:
    ana = await register(core.committer, core, "Ana", "1000001")
    asked.clear()
    person_lookup = PersonLookup(core.log)
    wanted = [ana, "nobody", *(f"stranger-{n}" for n in range(50)), ana]
    answers = await asyncio.gather(*(knows(person_lookup, one) for one in wanted))
    assert answers == [True, False, *[False] * 50, True]
    assert len(asked) == 1
    assert await knows(person_lookup, ana)
    assert len(asked) == 2


async def test_numbers_and_persons_share_a_query(core: Core, asked: list[list[str]]) -> None:
    ana = await register(core.committer, core, "Ana", "1000001")
    asked.clear()
    person_lookup = PersonLookup(core.log)
    numbers = [people.identity_stream(core.secret.identity_digest(number)) for number in ("1000001", "1000002")]
    *bearers, known = await asyncio.gather(*(person_lookup.state(one) for one in numbers), knows(person_lookup, ana))
    assert ([one.person for one in bearers], known, len(asked)) == ([ana, None], True, 1)


async def test_a_later_lookup_gets_a_later_state(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    load, looked, told = core.log.load, asyncio.Event(), asyncio.Event()

    async def slow_to_tell(streams: Iterable[str], **options: Any) -> dict[str, Loaded]:
        found = await load(streams, **options)
        looked.set()
        await told.wait()
        return found

    person_lookup = PersonLookup(core.log)
    with monkeypatch.context() as patch:
        patch.setattr(core.log, "load", slow_to_tell)
        early = asyncio.create_task(knows(person_lookup, opaque("Ana")))
        await looked.wait()
    await register(core.committer, core, "Ana", "1000001")
    late = asyncio.create_task(knows(person_lookup, opaque("Ana")))
    await asyncio.sleep(0)
    told.set()
    assert not await early
    assert await late


async def test_an_erased_person_is_unknown(core: Core) -> None:
    ana = await register(core.committer, core, "Ana", "1000001")
    person_lookup = PersonLookup(core.log)
    assert await knows(person_lookup, ana)
    await core.committer.submit(build(people.ErasePerson, person=ana), key("e"))
    assert not await knows(person_lookup, ana)


async def test_a_failed_query_fails_only_its_callers(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    ana = await register(core.committer, core, "Ana", "1000001")
    load = core.log.load

    async def failing(*_: Any, **__: Any) -> Any:
        await asyncio.sleep(0.01)
        monkeypatch.setattr(core.log, "load", load)
        raise Unavailable("gone")

    monkeypatch.setattr(core.log, "load", failing)
    person_lookup = PersonLookup(core.log)
    first = asyncio.gather(knows(person_lookup, ana), knows(person_lookup, "nobody"), return_exceptions=True)
    await asyncio.sleep(0.005)
    second = asyncio.create_task(knows(person_lookup, ana))
    assert [type(answer) for answer in await first] == [Unavailable, Unavailable]
    assert await second


async def test_a_cancelled_caller_does_not_affect_others(core: Core) -> None:
    ana = await register(core.committer, core, "Ana", "1000001")
    person_lookup = PersonLookup(core.log)
    going, staying = (asyncio.create_task(knows(person_lookup, ana)) for _ in range(2))
    await asyncio.sleep(0)
    going.cancel()
    assert await staying
    with pytest.raises(asyncio.CancelledError):
        await going
