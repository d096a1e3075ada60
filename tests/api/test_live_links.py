"""Objects that a live field links to: shown to each follower by their own rights, and as they are at each message."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from msgspec.structs import replace

from api.graphql.access import ALL
from api.graphql.fields import NODE_QUERIES
from bench.login import bearer
from domain.appointments.cancelling import CancelAppointment
from domain.decider import build
from domain.people import ErasePerson
from infra.gateways.keys import Login
from infra.log.core import Core
from tests.api.conftest import book
from tests.city import key, opaque, open_agenda
from tests.following import Reader, reader

pytestmark = pytest.mark.anyio

PATIENT = """subscription ($id: ID!) { appointment(id: $id) { position previous
  appointment { state patient { givenNames } } } }"""
AUDITOR = {"authorization": bearer(Login(subject="auditor", roles=["auditor"]))}
FOLLOWERS = 4  # of each kind, who ask at the same time


async def shown(one: Reader) -> Any:
    """The patient in the next message."""
    _, answer = await one.event()
    return answer["data"]["appointment"]["appointment"]["patient"]


async def test_followers_of_one_object_see_what_each_may_see(
    url: str, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Followers with the same question share their messages, but not the objects that only some of them may see."""
    persons = NODE_QUERIES["person"]
    only_developers = replace(persons, field=replace(persons.field, who={"developer": ALL}))
    monkeypatch.setitem(NODE_QUERIES, "person", only_developers)
    await open_agenda(core)
    appointment, _ = await book(core)
    async with AsyncExitStack() as stack:
        developers, auditors = [], []
        for _ in range(FOLLOWERS):
            developers.append(await stack.enter_async_context(reader(url, PATIENT, id=appointment)))
            auditors.append(await stack.enter_async_context(reader(url, PATIENT, headers=AUDITOR, id=appointment)))
        for change in range(2):
            if change:
                await core.committer.submit(build(CancelAppointment, appointment=appointment), key("cancel"))
            seen = await asyncio.gather(*(shown(one) for one in (*developers, *auditors)))
            assert seen == [{"givenNames": "Ana"}] * FOLLOWERS + [None] * FOLLOWERS


async def test_an_object_is_as_it_is_at_each_message(url: str, core: Core) -> None:
    await open_agenda(core)
    appointment, _ = await book(core)
    async with reader(url, PATIENT, id=appointment) as one:
        assert await shown(one) == {"givenNames": "Ana"}
        await core.committer.submit(build(ErasePerson, person=opaque("Ana")), key("erase"))
        await core.committer.submit(build(CancelAppointment, appointment=appointment), key("cancel"))
        assert await shown(one) == {"givenNames": None}
        async with reader(url, PATIENT, id=appointment) as other:
            assert await shown(other) == {"givenNames": None}
