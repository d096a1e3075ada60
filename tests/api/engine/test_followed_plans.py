"""A plan shows later messages of a subscription exactly as the library does, or leaves them to it."""

from typing import Any

import pytest

from api.app import Application
from api.graphql.appointments.agendas import agenda_to_graphql
from api.graphql.engine.documents import Operation
from domain.appointments.cancelling import CancelAppointment
from domain.decider import build
from domain.queues.calling import CallNext
from infra.log.core import Core
from tests.api.conftest import book
from tests.city import AGENDA as ID
from tests.city import key, open_agenda, open_line, service_point, take, turn_of
from tests.following import AGENDA, follower
from tests.hall import LINE as SHOWN_OF_LINE
from tests.hall import TURN as SHOWN_OF_TURN

pytestmark = pytest.mark.anyio

LINE = open_line().line
# With a directive the library shows the document, because plans do not support directives.
FORCED = " @include(if: true)"

OF_AGENDA = """subscription Follow($id: ID!, $first: Int! = 3, $after: Position) {
  now: agenda(id: $id, after: $after) { __typename place: position previous ...Shown } }
fragment Shown on AgendaChange { agenda { id FORCED ... on Agenda { hospital { name } freeSlots __typename }
  some: slots(first: $first) { nodes { number start state } pageInfo { hasNextPage endCursor } } } }"""
OF_APPOINTMENT = """subscription ($id: ID!) { appointment(id: $id) {
  position FORCED previous appointment { id start state patient { id } slot } } }"""
OF_LINE = f"subscription ($id: ID!) {{ line(id: $id) {{ position FORCED previous line {{ {SHOWN_OF_LINE} }} }} }}"
OF_TURN = f"subscription ($id: ID!) {{ turn(id: $id) {{ position FORCED previous turn {{ {SHOWN_OF_TURN} }} }} }}"


def operation_of(app: Application, document: str) -> Operation:
    operation = app.engine.documents.understand(document).operation(None)
    assert operation
    return operation


async def both(app: Application, url: str, document: str, changes: list[Any], **variables: Any) -> list[dict[str, Any]]:
    """The plan's messages after each change, compared with the library's."""
    plain, forced = document.replace("FORCED", ""), document.replace("FORCED", FORCED)
    told = []
    async with follower(url) as one, follower(url) as other:
        await one.follow(plain, **variables)
        await other.follow(forced, **variables)
        assert (await one.hear())["payload"] == (await other.hear())["payload"]
        for change in changes:
            await change()
            told.append((await one.hear())["payload"])
            assert told[-1] == (await other.hear())["payload"]
    assert operation_of(app, plain).followed_plan is not None
    assert operation_of(app, forced).followed_plan is None
    assert operation_of(app, forced).is_rare
    return told


async def test_an_agenda_renders_as_with_the_library(app: Application, url: str, core: Core) -> None:
    await open_agenda(core)
    changes = [lambda: book(core), lambda: book(core, 2, "Luis")]
    first, second = await both(app, url, OF_AGENDA, changes, id=ID)
    assert [one["data"]["now"]["agenda"]["freeSlots"] for one in (first, second)] == [5, 4]
    assert len(second["data"]["now"]["agenda"]["some"]["nodes"]) == 3
    assert second["data"]["now"]["previous"] == first["data"]["now"]["place"]
    assert first["extensions"] == second["extensions"]
    assert first["extensions"]["cost"] > 0


async def test_an_appointment_renders_as_with_the_library(app: Application, url: str, core: Core) -> None:
    await open_agenda(core)
    mine, _ = await book(core)

    async def cancel() -> None:
        await core.committer.submit(build(CancelAppointment, appointment=mine, reason="PATIENT"), key("c"))

    (told,) = await both(app, url, OF_APPOINTMENT, [cancel], id=mine)
    assert told["data"]["appointment"]["appointment"]["state"] == "CANCELLED"


async def test_lines_and_turns_render_as_with_the_library(app: Application, url: str, core: Core) -> None:
    await core.committer.submit(service_point(), key("point"))
    await core.committer.submit(open_line(), key("line"))
    await core.committer.submit(take(LINE, "ana"), key("ana"))

    def call(counter: int) -> Any:
        return core.committer.submit(CallNext(line=LINE, counter=counter), key(f"call {counter}"))

    changes = [lambda: core.committer.submit(take(LINE, "luis"), key("luis")), lambda: call(1)]
    _, told = await both(app, url, OF_LINE, changes, id=LINE)
    assert told["data"]["line"]["line"]["waiting"] == 1
    changes = [lambda: core.committer.submit(take(LINE, "eva"), key("eva")), lambda: call(2)]
    waits, called = await both(app, url, OF_TURN, changes, id=turn_of("luis", LINE))
    assert (waits["data"]["turn"]["turn"]["ahead"], called["data"]["turn"]["turn"]["state"]) == (0, "CALLED")


@pytest.mark.parametrize("faults", [1, 2])
async def test_the_library_handles_a_message_on_which_the_plan_fails(
    url: str, core: Core, monkeypatch: pytest.MonkeyPatch, faults: int
) -> None:
    await open_agenda(core)
    left = faults

    def failing(state: Any, now: Any) -> Any:
        nonlocal left
        if state.booked and left:
            left -= 1
            raise RuntimeError("a fault of ours")
        return agenda_to_graphql(state, now)

    monkeypatch.setattr("api.graphql.appointments.live.agenda_to_graphql", failing)
    async with follower(url) as one:
        await one.follow(AGENDA, id=ID)
        await one.told()
        await book(core)
        if faults == 1:
            told = await one.told()
            assert (told["previous"], told["agenda"]["freeSlots"]) == (2, 5)
            await book(core, 2, "Luis")
            assert (await one.told())["previous"] == told["position"]
        else:
            assert (await one.refused())["extensions"]["code"] == "internal_error"
    assert left == 0
