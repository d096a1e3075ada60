"""Read models of lines over GraphQL: a service point's days, who waited, figures; for whom, and how fresh."""

from datetime import timedelta
from typing import Any

import pytest

import infra.postgres.views
from domain.decider import build
from domain.queues.calling import MarkAbsent
from domain.queues.opening import CloseLine
from domain.queues.turns import LeaveLine, RequeueAbsent, TransferTurn
from infra.gateways.keys import Login
from infra.log.core import Core
from tests.api.conftest import Client
from tests.city import TODAY, hospital, key, opaque, person, service_point
from tests.conftest import Clock
from tests.waiting_log import LINE, call, finish, open_line, start, take, turn_of

pytestmark = pytest.mark.anyio

OF_X = 'servicePoint: "x", onOrAfter: "2027-01-04", first: 1'
CLERK = Login(subject="rosa", roles=["counter_clerk"], service_points=["sopocachi"])
DAYS = """query ($point: String!, $from: Date!, $to: Date, $service: String, $first: Int!, $after: String) {
  lines(servicePoint: $point, onOrAfter: $from, to: $to, service: $service, first: $first, after: $after) {
    nodes { line { id } service date waiting } pageInfo { endCursor hasNextPage } } }"""
TURNS = """query ($person: ID!, $first: Int!, $after: String) {
  turns(person: $person, first: $first, after: $after) {
    nodes { turn { id } line { id } number state person { id } } pageInfo { endCursor hasNextPage } } }"""
LINE_TURNS = """query ($line: ID!, $first: Int!, $state: TurnState, $after: String) {
  lineTurns(line: $line, first: $first, state: $state, after: $after) {
    nodes { turn { id } number state person { id } } pageInfo { endCursor hasNextPage } } }"""
FIGURES = """query ($line: ID!) { lineFigures(line: $line) { line { id } waiting longestWaitSeconds countersOpen
  total { taken called served absent left transferred unserved abandoned wait { medianSeconds nineInTenSeconds
    meanSeconds } service { medianSeconds } } hours { hour figures { taken served wait { medianSeconds } } } } }"""
HISTORY = """query ($point: String!, $from: Date!, $to: Date!, $service: String) {
  lineHistory(servicePoint: $point, onOrAfter: $from, to: $to, service: $service) {
    date service figures { taken served abandoned service { meanSeconds } } } }"""


def _id(shown: Any) -> Any:
    """What the id of a linked object says, or a field that is no object."""
    return shown["id"] if isinstance(shown, dict) else shown


async def pages(client: Client, document: str, field: str, **variables: Any) -> list[str]:
    """The ids in all pages, which go on for as long as they say."""
    found: list[str] = []
    after, more = None, True
    while more:
        page = await client.data(document, first=2, after=after, **variables)
        assert 0 < len(page["nodes"]) <= 2
        found += [_id(node[field]) for node in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    return found


async def test_service_points_are_listed_by_code(client: Client, core: Core) -> None:
    await core.committer.submit(hospital(), key("hospital"))
    for code in ("sopocachi", "calacoto", "miraflores"):
        wanted = service_point(code, hospital="la-merced" if code == "miraflores" else None)
        await core.committer.submit(wanted, key(code))
    asked = "servicePoints(first: 9) { nodes { code name hospital { code } } }"
    assert (await client.data(f"{{ {asked} }}"))["nodes"][1:] == [
        {"code": "miraflores", "name": "Oficina miraflores", "hospital": {"code": "la-merced"}},
        {"code": "sopocachi", "name": "Oficina sopocachi", "hospital": None},
    ]
    paged = """query ($first: Int!, $after: String) { servicePoints(first: $first, after: $after) {
      nodes { code } pageInfo { endCursor hasNextPage } } }"""
    assert await pages(client, paged, "code") == ["calacoto", "miraflores", "sopocachi"]


async def test_a_line_in_the_list_of_days_has_its_counts(client: Client, core: Core, clock: Clock) -> None:
    await open_line(core)
    other = await open_line(core, service="permits")
    for name in ("Ana", "Luis", "Eva", "Juan", "Rosa"):
        await take(core, name)
        clock.wait(10)
    await take(core, "Inés", reason="PREGNANT")
    await call(core, "Inés")
    await start(core, turn_of("Inés"))
    await call(core, "Ana", 2)
    await core.committer.submit(build(LeaveLine, turn=turn_of("Luis")), key("leave"))
    moved = build(TransferTurn, turn=turn_of("Eva"), to=other, moved_to=turn_of("Eva", other))
    await core.committer.submit(moved, key("move"))
    document = """{ lines(servicePoint: "sopocachi", onOrAfter: "2027-01-04", first: 1) { nodes {
      line { id } service date hospital { code } opensAt lastTurnAt closesAt closedAt countersOpen taken waiting
      waitingPreferential waitingAppointment waitingNormal waitingSince called serving served absent left
      transferred unserved } } }"""
    expected = {
        "line": {"id": LINE}, "service": "cadastre", "date": "2027-01-04", "hospital": None,
        "opensAt": "2027-01-04T11:00:00Z", "lastTurnAt": "2027-01-04T20:00:00Z", "closesAt": "2027-01-04T20:00:00Z",
        "closedAt": None, "countersOpen": 2, "taken": 6, "waiting": 2, "waitingPreferential": 0,
        "waitingAppointment": 0, "waitingNormal": 2, "waitingSince": "2027-01-04T12:00:30Z", "called": 1, "serving": 1,
        "served": 0, "absent": 0, "left": 1, "transferred": 1, "unserved": 0,
    }  # fmt: skip
    assert (await client.data(document))["nodes"] == [expected]
    clock.wait(100)
    await core.committer.submit(build(MarkAbsent, turn=turn_of("Ana")), key("absent"))
    await finish(core, turn_of("Inés"))
    await core.committer.submit(build(CloseLine, line=LINE), key("close"))
    expected |= {"called": 0, "serving": 0, "served": 1, "absent": 1, "unserved": 2, "waiting": 0, "waitingNormal": 0}
    expected |= {"closedAt": "2027-01-04T12:02:30Z", "waitingSince": None}
    assert (await client.data(document))["nodes"] == [expected]
    client.act_as(None)
    assert (await client.data(document))["nodes"] == [expected]


async def test_days_of_a_service_point_by_date_and_service(client: Client, core: Core) -> None:
    tomorrow = TODAY + timedelta(days=1)
    await open_line(core, point="calacoto")
    there = [(tomorrow, "permits"), (tomorrow, "cadastre"), (TODAY, "permits"), (TODAY, "cadastre")]
    names = [await open_line(core, service=service, day=day) for day, service in there]
    in_order = names[::-1]
    common = {"point": "sopocachi", "from": "2027-01-04"}
    assert await pages(client, DAYS, "line", **common) == in_order
    assert await pages(client, DAYS, "line", **common, to="2027-01-04") == in_order[:2]
    assert await pages(client, DAYS, "line", **common, service="permits") == in_order[1::2]
    assert await pages(client, DAYS, "line", point="sopocachi", **{"from": "2027-01-05"}) == in_order[2:]
    assert (await client.data(DAYS, point="nowhere", first=1, **{"from": "2027-01-04"}))["nodes"] == []


async def test_a_person_s_turns_the_newest_first(client: Client, core: Core, clock: Clock) -> None:
    other, elsewhere = await open_line(core, service="permits"), await open_line(core, point="calacoto")
    await open_line(core)
    await core.committer.submit(person("Ana", core), key("Ana"))
    await take(core, "Luis")
    names = [await take(core, "Ana", line) for line in (LINE, elsewhere, other)]
    newest = names[::-1]
    assert await pages(client, TURNS, "turn", person=opaque("Ana")) == newest
    found = await client.data(TURNS, person=opaque("Ana"), first=1)
    assert found["nodes"] == [
        {
            "turn": {"id": names[2]},
            "line": {"id": other},
            "number": "A-001",
            "state": "WAITING",
            "person": {"id": opaque("Ana")},
        }
    ]
    client.act_as(CLERK)
    assert await pages(client, TURNS, "turn", person=opaque("Ana")) == [names[2], names[0]]
    client.act_as(Login(subject="ana", identity="4820193", roles=["citizen"]))
    assert await pages(client, TURNS, "turn", person=opaque("Ana")) == newest
    answer = await client.ask(TURNS, person=opaque("Luis"), first=1)
    assert answer["errors"][0]["extensions"] == {"code": "forbidden"}


async def test_a_line_s_turns_for_its_clerks_in_the_order_of_taking(client: Client, core: Core) -> None:
    elsewhere = await open_line(core, point="calacoto")
    await open_line(core)
    await take(core, "Zoe", elsewhere)
    names = [await take(core, name) for name in ("Eva", "Ana", "Luis", "Juan", "Rosa")]
    for counter, name in enumerate(("Eva", "Ana"), start=1):
        await call(core, name, counter)
    client.act_as(CLERK)
    assert await pages(client, LINE_TURNS, "turn", line=LINE) == names
    assert await pages(client, LINE_TURNS, "turn", line=LINE, state="WAITING") == names[2:]
    assert await pages(client, LINE_TURNS, "number", line=LINE, state="CALLED") == ["A-001", "A-002"]
    found = await client.data(LINE_TURNS, line=LINE, first=9, state="SERVED")
    assert found == {"nodes": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}
    answer = await client.ask(LINE_TURNS, line=elsewhere, first=1)
    assert answer["errors"][0]["extensions"] == {"code": "forbidden"}


async def test_a_turn_record_has_its_whole_history(client: Client, core: Core, clock: Clock) -> None:
    await open_line(core)
    await core.committer.submit(person("Ana", core), key("Ana"))
    turn = await take(core, "Ana", reason="INFANT")
    clock.wait(60)
    await call(core, "once")
    clock.wait(90)
    await core.committer.submit(build(MarkAbsent, turn=turn), key("absent"))
    clock.wait(30)
    await core.committer.submit(build(RequeueAbsent, turn=turn), key("requeue"))
    await call(core, "again", 2)
    await start(core, turn)
    clock.wait(300)
    await finish(core, turn, "REFERRED")
    fields = """turn { id } line { id } number priority reason channel person { id } appointment { id } state since
      takenAt ahead countersOpen counter calls firstCalledAt calledAt startedAt endedAt outcome requeues
      movedFrom { id } movedTo { id }"""
    (found,) = (await client.data(f'{{ lineTurns(line: "{LINE}", first: 1) {{ nodes {{ {fields} }} }} }}'))["nodes"]
    assert found == {
        "turn": {"id": turn}, "line": {"id": LINE}, "number": "P-001", "priority": "PREFERENTIAL",
        "reason": "INFANT", "channel": "WEB",
        "person": {"id": opaque("Ana")}, "appointment": None, "state": "SERVED", "since": "2027-01-04T12:00:00Z",
        "takenAt": "2027-01-04T12:00:00Z", "ahead": 0, "countersOpen": 2, "counter": 2, "calls": 1,
        "firstCalledAt": "2027-01-04T12:01:00Z", "calledAt": "2027-01-04T12:03:00Z",
        "startedAt": "2027-01-04T12:03:00Z", "endedAt": "2027-01-04T12:08:00Z", "outcome": "REFERRED", "requeues": 1,
        "movedFrom": None, "movedTo": None,
    }  # fmt: skip


async def test_figures_of_a_line_now_by_hour_and_in_all(client: Client, core: Core, clock: Clock) -> None:
    await open_line(core)
    assert await client.data(FIGURES, line=LINE.replace("cadastre", "permits")) is None
    for name in ("Ana", "Luis"):
        turn = await take(core, name)
        clock.wait(60)
        await call(core, name)
        await start(core, turn)
        clock.wait(1_000)
        await finish(core, turn)
    clock.now = clock.now.replace(hour=13, minute=0, second=0)
    for name in ("Eva", "Juan"):
        await take(core, name)
    await core.committer.submit(build(LeaveLine, turn=turn_of("Juan")), key("leave"))
    clock.wait(45)
    client.act_as(CLERK)
    spread = {"medianSeconds": 60, "nineInTenSeconds": 60, "meanSeconds": 60}
    assert await client.data(FIGURES, line=LINE) == {
        "line": {"id": LINE}, "waiting": 1, "longestWaitSeconds": 45, "countersOpen": 2,
        "total": {
            "taken": 4, "called": 2, "served": 2, "absent": 0, "left": 1, "transferred": 0, "unserved": 0,
            "abandoned": 0.25, "wait": spread, "service": {"medianSeconds": 1000},
        },
        "hours": [
            {"hour": 8, "figures": {"taken": 2, "served": 2, "wait": {"medianSeconds": 60}}},
            {"hour": 9, "figures": {"taken": 2, "served": 0, "wait": None}},
        ],
    }  # fmt: skip


async def test_history_of_a_service_point(client: Client, core: Core, clock: Clock) -> None:
    await open_line(core)
    await open_line(core, service="permits")
    await open_line(core, day=TODAY + timedelta(days=1))
    turn = await take(core, "Ana")
    await call(core, "Ana")
    await start(core, turn)
    clock.wait(200)
    await finish(core, turn)
    client.act_as(CLERK)
    period = {"from": "2027-01-04", "to": "2027-01-05"}
    nothing = {"taken": 0, "served": 0, "abandoned": 0, "service": None}
    some = {"taken": 1, "served": 1, "abandoned": 0, "service": {"meanSeconds": 200}}
    assert await client.data(HISTORY, point="sopocachi", **period) == [
        {"date": "2027-01-04", "service": "cadastre", "figures": some},
        {"date": "2027-01-04", "service": "permits", "figures": nothing},
        {"date": "2027-01-05", "service": "cadastre", "figures": nothing},
    ]
    assert len(await client.data(HISTORY, point="sopocachi", service="permits", **period)) == 1
    answer = await client.ask(HISTORY, point="calacoto", **period)
    assert answer["errors"][0]["extensions"] == {"code": "forbidden"}


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("servicePoints(first: 0) { nodes { code } }", "first"),
        ('servicePoints(first: 1, after: "X") { nodes { code } }', "after"),
        ('lines(servicePoint: "X", onOrAfter: "2027-01-04", first: 1) { nodes { service } }', "servicePoint"),
        ('lines(servicePoint: "x", onOrAfter: "2027-01-04", first: 101) { nodes { service } }', "first"),
        (f'lines({OF_X}, service: "2027-01-04") {{ nodes {{ service }} }}', "service"),
        (f'lines({OF_X}, after: "y/a/2027-01-04") {{ nodes {{ service }} }}', "after"),
        (f'lines({OF_X}, after: "x/a/2027-02-30") {{ nodes {{ service }} }}', "after"),
        (f'lines({OF_X}, atLeast: "9") {{ nodes {{ service }} }}', "atLeast"),
        ('turns(person: "ana", first: 1) { nodes { number } }', "person"),
        ('turns(person: "aaaaaaaaaaaaaaaaaaaaaaaaaa", first: 1, after: "x") { nodes { number } }', "after"),
        ('lineTurns(line: "x/a/2027-01-04", first: 1, after: "1234567890123456789") { nodes { number } }', "after"),
        ('lineTurns(line: "x", first: 1) { nodes { number } }', "line"),
        ('lineTurns(line: "x/a/2027-01-04", first: 1, after: "-1") { nodes { number } }', "after"),
        ('lineFigures(line: "x/a") { waiting }', "line"),
        ('lineHistory(servicePoint: "x", onOrAfter: "2027-01-01", to: "2027-04-03") { date }', "to"),
        ('lineHistory(servicePoint: "x", onOrAfter: "2027-01-02", to: "2027-01-01") { date }', "to"),
        ('lineHistory(servicePoint: "x", onOrAfter: "2027-01-02", to: "2027-01-02", service: "X") { date }', "service"),
    ],
)  # fmt: skip
async def test_wrong_arguments_are_refused_in_the_client_s_language(client: Client, field: str, path: str) -> None:
    for language, begin in (("es", "Dato no válido"), ("en", "Invalid value")):
        answer = await client.ask(f"{{ {field} }}", language=language)
        (error,) = answer["errors"]
        assert error["extensions"] == {"code": "invalid_input", "path": [path]}
        assert error["message"].startswith(begin)


async def test_a_response_has_freshness_and_waits_for_a_position(
    client: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_line(core)
    await take(core, "Ana")
    head = await core.log.head()
    document = """query ($at: Position) {
      lines(servicePoint: "sopocachi", onOrAfter: "2027-01-04", first: 1, atLeast: $at) { nodes { taken } } }"""
    answer = await client.ask(document, at=str(head))
    assert answer["data"]["lines"]["nodes"] == [{"taken": 1}]
    fresh = {"position": str(head), "lagEvents": 0, "lagSeconds": 0.0}
    assert answer["extensions"]["freshness"] == {"lines": fresh, "turns": fresh}
    client.projector = None
    await take(core, "Luis")
    answer = await client.ask(document)
    assert answer["data"]["lines"]["nodes"] == [{"taken": 1}]
    assert answer["extensions"]["freshness"]["turns"]["lagEvents"] == 1
    monkeypatch.setattr(infra.postgres.views, "REACH_TIMEOUT_S", 0.1)
    answer = await client.ask(document, at=str(head + 1))
    assert answer["errors"][0]["extensions"] == {"code": "not_reached_yet", "path": ["atLeast"]}


@pytest.mark.parametrize(
    ("field", "statements"),
    [
        ("servicePoints(first: 9) { nodes { name } }", 1),
        ('lines(servicePoint: "sopocachi", onOrAfter: "2027-01-04", first: 100) { nodes { waiting served } }', 1),
        (f'lineTurns(line: "{LINE}", first: 100) {{ nodes {{ number state outcome }} }}', 1),
        (f'lineFigures(line: "{LINE}") {{ waiting total {{ served }} hours {{ figures {{ served }} }} }}', 2),
        ('lineHistory(servicePoint: "sopocachi", onOrAfter: "2027-01-04", to: "2027-01-05") { date }', 1),
    ],
)
async def test_a_query_takes_a_fixed_number_of_statements(
    client: Client, core: Core, counted: list[Any], field: str, statements: int
) -> None:
    for service in ("cadastre", "permits", "taxes"):
        line = await open_line(core, service=service)
        for number in range(5):
            await take(core, f"person {number}", line)
    counted.clear()
    await client.data(f"{{ {field} }}")
    assert len(counted) == statements
