"""A whole day in two lines, played over GraphQL by clerks and citizens: log, board, follow-up and figures agree."""

import asyncio
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from api.graphql.context import Context
from api.graphql.engine.execution import Asked, Engine
from api.graphql.engine.live import POLL_S
from api.graphql.schema import schema
from domain.decider import build
from domain.queues.opening import CloseLine
from infra.gateways.keys import Login
from infra.log.core import Core
from tests.api.conftest import Client
from tests.city import TODAY, key, opaque, open_line, person, service_point
from tests.conftest import Clock
from tests.hall import CLERK, LINE, Hall
from tests.towns import Town

pytestmark = pytest.mark.anyio

TURNS = 720  # come; some have a turn already
FOLLOWED_EVERY = 60  # of so many who come, one follows their turn
TOLD_TRIES_MAX = 500
PEOPLE = 150
COUNTERS = {"cadastre": 5, "taxes": 3}
LINES = {service: open_line(service=service).line for service in COUNTERS}
OPENS, CLOSES = (datetime(TODAY.year, TODAY.month, TODAY.day, hour, tzinfo=UTC) for hour in (11, 19))
BY_HAND, BY_TIME = LINES["cadastre"], LINES["taxes"]  # how each is closed
LETTERS = {"PREFERENTIAL": "P", "APPOINTMENT": "F", "NORMAL": "A"}
LUNCH = OPENS + timedelta(hours=5), OPENS + timedelta(hours=6)
MINUTE = timedelta(minutes=1)
COUNTS = "taken called served absent left transferred unserved"
FIGURES = f"""query ($line: ID!) {{ lineFigures(line: $line) {{
  waiting countersOpen total {{ {COUNTS} abandoned wait {{ meanSeconds }} service {{ meanSeconds }} }}
  hours {{ hour figures {{ {COUNTS} }} }} }} }}"""
RECORDS = """query ($line: ID!, $after: String) { lineTurns(line: $line, first: 100, after: $after) {
  nodes { number state firstCalledAt since } pageInfo { endCursor hasNextPage } } }"""
HISTORY = f"""query ($day: Date!) {{ lineHistory(servicePoint: "sopocachi", onOrAfter: $day, to: $day) {{
  service figures {{ {COUNTS} }} }} }}"""
FOLLOW_LINE = f"subscription ($id: ID!) {{ line(id: $id) {{ position previous line {{ {LINE} }} }} }}"
FOLLOW_TURN = "subscription ($id: ID!) { turn(id: $id) { position previous turn { id number state } } }"


class Day:
    """What everybody does, in order of time. Chance is seeded; the program's clock is the day's."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.hall = Hall(client)
        self.client = client
        self.clock = clock
        self.chance = random.Random(7)
        self.agenda: list[tuple[datetime, int, Callable[[], Awaitable[Any]]]] = []
        self.order = itertools.count()
        self.turns: list[str] = []
        self.refused: Counter[str] = Counter()
        self.people = {opaque(f"p{n}"): Login(subject=f"p{n}", identity=str(4_000_000 + n)) for n in range(PEOPLE)}
        self.owners: dict[str, Login] = {}
        self.told: dict[str, list[Any]] = {}  # of lines and of turns
        self.following: list[asyncio.Task[None]] = []

    def follow(self, question: str, name: str) -> None:
        self.told[name] = []
        self.following.append(asyncio.create_task(follow(self.client, question, name, self.told[name])))

    def at(self, when: datetime, what: Callable[[], Awaitable[Any]]) -> None:
        heapq.heappush(self.agenda, (when, next(self.order), what))

    def later(self, seconds: float, what: Callable[[], Awaitable[Any]]) -> None:
        self.at(self.clock.now + timedelta(seconds=seconds), what)

    async def play(self) -> None:
        for n in range(TURNS):
            share = self.chance.random() ** 2  # most come early
            self.at(OPENS + share * (CLOSES - OPENS) * 0.95, partial(self.arrive, by_web=n % 2 == 1))
        for service, counters in COUNTERS.items():
            for counter in range(1, counters + 1):
                self.at(OPENS, partial(self.call, LINES[service], counter))
        for counter in (1, 2):
            for when, mutation in zip(LUNCH, ("pauseCounter", "resumeCounter"), strict=True):
                self.at(when, partial(self.say, mutation, line=LINES["cadastre"], counter=counter))
        self.at(CLOSES - 5 * MINUTE, partial(self.say, "closeLine", line=BY_HAND))
        self.at(CLOSES + MINUTE, self.tidy_up)
        while self.agenda:
            self.clock.now, _, what = heapq.heappop(self.agenda)
            await what()

    async def say(self, mutation: str, login: Login = CLERK, **wanted: Any) -> Any:
        """What it gives; None if it is refused, which is counted."""
        self.client.act_as(login)
        payload = await self.hall.ask(mutation, **wanted)
        for error in payload["errors"]:
            self.refused[f"{mutation} {error['code']}"] += 1
        return payload.get("turn")

    async def tidy_up(self) -> None:
        """A line that its time has closed is recorded as closed a little later."""
        board = await self.hall.line(BY_TIME)
        assert (board["state"], board["closedAt"]) == ("CLOSED", None)
        await self.client.services.core.committer.submit(build(CloseLine, line=BY_TIME), key("tidy up"))

    async def arrive(self, *, by_web: bool) -> None:
        line = LINES["taxes" if self.chance.random() < 0.35 else "cadastre"]
        wanted: dict[str, Any] = {"line": line, "reason": self.chance.choice([None, None, None, "INFANT"])}
        name, login = self.chance.choice(list(self.people.items()))
        if by_web:
            turn = await self.say("takeTurn", login, channel="WEB", person=name, **wanted)
        else:
            login, turn = CLERK, await self.say("takeTurn", channel="KIOSK", **wanted)
        if turn is None:
            return
        if len(self.turns) % FOLLOWED_EVERY == 0:
            self.follow(FOLLOW_TURN, turn["id"])
        self.turns.append(turn["id"])
        self.owners[turn["id"]] = login
        if self.chance.random() < 0.2:
            await self.say("askNotice", login, turn=turn["id"], ahead=3)
        if self.chance.random() < 0.04:
            self.later(self.chance.uniform(60, 1_800), lambda: self.say("leaveLine", login, turn=turn["id"]))

    async def call(self, line: str, counter: int) -> None:
        turn = await self.say("callNext", line=line, counter=counter)
        if turn is None:
            if self.clock.now < CLOSES:
                self.later(60, lambda: self.call(line, counter))
        elif self.chance.random() < 0.1:
            self.later(90, lambda: self.miss(line, counter, turn["id"]))
        else:
            self.later(self.chance.uniform(5, 60), lambda: self.serve(line, counter, turn["id"]))

    async def miss(self, line: str, counter: int, turn: str) -> None:
        await self.say("markAbsent", turn=turn)
        if self.chance.random() < 0.6:
            self.later(120, lambda: self.say("requeueAbsent", self.owners.get(turn, CLERK), turn=turn))
        await self.call(line, counter)

    async def serve(self, line: str, counter: int, turn: str) -> None:
        await self.say("startService", turn=turn)
        self.later(self.chance.lognormvariate(5.8, 0.6), lambda: self.finish(line, counter, turn))

    async def finish(self, line: str, counter: int, turn: str) -> None:
        other = next(one for one in LINES.values() if one != line)
        moved = None
        if self.chance.random() < 0.1:
            moved = await self.say("transferTurn", turn=turn, to=other)
        if moved:
            self.turns.append(moved["id"])
            self.owners[moved["id"]] = self.owners[turn]
        else:
            await self.say("finishService", turn=turn)
        await self.call(line, counter)


async def follow(client: Client, question: str, name: str, told: list[Any]) -> None:
    """Keep what is told of a line or a turn, each with the time `at` which it was."""
    context = Context(client.services, actor=await client.services.identities.actor(b""), language="es", correlation="")
    async for answer in Engine(schema).followed(Asked(question, {"id": name}, None), context):
        assert answer.data, answer
        (said,) = answer.data.values()
        told.append(said | {"at": client.services.now()})


class Board:
    """A line by its events so far: who waits, by turn, and of each counter whether it calls."""

    def __init__(self, counters: list[int]) -> None:
        self.waiting: set[str] = set()
        self.taken = dict.fromkeys(LETTERS, 0)
        self.open = dict.fromkeys(counters, True)
        self.calls: list[tuple[str, int]] = []
        self.closed = False


class Ledger:
    """What became of each turn, by the events in the log alone; and of each line, what its board had to say after each.

    `boards` has that by position, as `on_the_board` gives it; `history` each turn's states, with their positions.
    """

    def __init__(self, town: Town) -> None:
        self.state: dict[str, str] = {}
        self.number: dict[str, tuple[str, str, int]] = {}
        self.counter: dict[tuple[str, int], str] = {}
        self.notices: Counter[str] = Counter()
        self.called: set[str] = set()
        self.boards: dict[int, Any] = {}
        self.history: dict[str, list[tuple[int, str]]] = {}
        self._lines: dict[str, Board] = {}
        rows = town.execute(
            "SELECT position, stream, event, state FROM event_log WHERE stream LIKE 'line/%%' ORDER BY position"
        )
        for at, stream, event, said in rows:
            position = int(str(at))
            line, name = str(stream).removeprefix("line/"), str(event).removesuffix(".v1")
            self._enter(line, name, said)
            for turn, state in self._moved(name, said).items():
                self._put(line, turn, state)
                self.history.setdefault(turn, []).append((position, state))
            self.boards[position] = self._board(line)

    def _enter(self, line: str, event: str, said: Any) -> None:
        turn, counter = said.get("turn", ""), (line, said.get("counter", 0))
        match event:
            case "line_opened":
                self._lines[line] = Board(said["counters"])
            case "line_closed":
                self._lines[line].closed = True
            case "counter_paused" | "counter_resumed":
                self._lines[line].open[said["counter"]] = event == "counter_resumed"
            case "turn_taken":
                assert turn not in self.state
                self.number[turn] = line, said["priority"], said["number"]
                self._lines[line].taken[said["priority"]] += 1
            case "turn_called":
                assert self.state[turn] == "WAITING"
                assert counter not in self.counter, "it had somebody"
                self.counter[counter] = turn
                self.called.add(turn)
                calls = self._lines[line].calls
                self._lines[line].calls = [(turn, said["counter"]), *(call for call in calls if call[0] != turn)][:10]
            case "service_started":
                assert (self.state[turn], self.counter[counter]) == ("CALLED", turn)
            case "service_finished" | "turn_absent":
                assert self.counter.pop(counter) == turn
            case "turn_transferred" | "turn_left":
                self.counter = {at: who for at, who in self.counter.items() if who != turn}
            case "notice_given":
                self.notices[turn] += 1

    def _moved(self, event: str, said: Any) -> dict[str, str]:
        """The turns of which an event says a new state, and which."""
        states = {
            "turn_taken": "WAITING", "turn_called": "CALLED", "turn_recalled": "CALLED", "service_started": "SERVING",
            "service_finished": "SERVED", "turn_absent": "ABSENT", "turn_requeued": "WAITING", "turn_left": "LEFT",
            "turn_transferred": "TRANSFERRED",
        }  # fmt: skip
        found = {said["turn"]: states[event]} if event in states else {}
        return found | dict.fromkeys(said.get("unserved", ()), "UNSERVED")

    def _put(self, line: str, turn: str, state: str) -> None:
        self.state[turn] = state
        waiting = self._lines[line].waiting
        if state == "WAITING":
            waiting.add(turn)
        else:
            waiting.discard(turn)

    def shown(self, turn: str) -> str:
        _, priority, number = self.number[turn]
        return f"{LETTERS[priority]}-{number:03d}"

    def _board(self, line: str) -> Any:
        board = self._lines[line]
        waiting = Counter(self.number[turn][1] for turn in board.waiting)
        at = {counter: self.counter.get((line, counter)) for counter in board.open}
        return {
            "waiting": waiting.total(),
            "classes": {priority: (waiting[priority], board.taken[priority]) for priority in LETTERS},
            "countersOpen": sum(board.open.values()),
            "counters": {
                counter: (board.open[counter], (self.shown(turn), self.state[turn]) if turn else None)
                for counter, turn in at.items()
            },
            "lastCalls": [(self.shown(turn), counter, self.state[turn]) for turn, counter in board.calls],
            "closed": board.closed,
            "next": {self.shown(turn) for turn in board.waiting},
        }

    def state_at(self, turn: str, position: int) -> str:
        return [state for at, state in self.history[turn] if at <= position][-1]


def on_the_board(told: Any) -> Any:
    """What is compared of a board that was told; `next` and `closed` are looked at apart."""
    return {
        "waiting": told["waiting"],
        "classes": {one["priority"]: (one["waiting"], one["taken"]) for one in told["classes"]},
        "countersOpen": told["countersOpen"],
        "counters": {
            one["number"]: (one["open"], (one["turn"]["number"], one["turn"]["state"]) if one["turn"] else None)
            for one in told["counters"]
        },
        "lastCalls": [(one["number"], one["counter"], one["state"]) for one in told["lastCalls"]],
    }


@pytest.fixture
async def day(client: Client, core: Core, clock: Clock) -> Day:
    """Before the doors open: two lines of eight counters in all, and people who are known."""
    clock.now = OPENS - timedelta(minutes=30)
    await core.committer.submit(service_point(), key("point"))
    for service, counters in COUNTERS.items():
        opening = replace(open_line(service=service, counters=counters), closes_at=CLOSES)
        await core.committer.submit(opening, key(service))
    people = [person(f"p{n}", core, ci=str(4_000_000 + n)) for n in range(PEOPLE)]
    await asyncio.gather(*(core.committer.submit(one, key(one.person)) for one in people))
    return Day(Client(client.http, client.services), clock)  # read models are asked when the day is over


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_a_whole_day_is_consistent(client: Client, day: Day, core: Core, town: Town) -> None:
    for line in LINES.values():
        day.follow(FOLLOW_LINE, line)
    await day.play()
    for name in day.told:
        await the_last_is_told(day, name)
    ledger = Ledger(town)
    await the_day_was_as_lively_as_it_should(day, ledger)
    for line in LINES.values():
        await the_board_says_what_the_log_says(day.hall, line, day.told[line], ledger)
        each_board_was_right_when_it_was_told(line, day.told[line], ledger)
    for turn in set(day.told) - set(LINES.values()):
        the_follow_up_says_what_the_log_says(turn, day.told[turn], ledger)
    for task in day.following:
        task.cancel()
    await asyncio.gather(*day.following, return_exceptions=True)
    await core_stops(client)
    assert sorted(day.turns) == sorted(ledger.state)
    for line in LINES.values():
        await the_figures_say_what_the_log_says(client, line, ledger)
    for turn, state in ledger.state.items():
        shown = await day.hall.turn(turn)
        assert (shown["state"], shown["ahead"]) == (state, None)
        assert int(shown["number"].partition("-")[2]) == ledger.number[turn][2]


async def the_figures_say_what_the_log_says(client: Client, line: str, ledger: Ledger) -> None:
    client.act_as(CLERK)
    states = Counter(state for turn, state in ledger.state.items() if ledger.number[turn][0] == line)
    figures = await client.data(FIGURES, line=line)
    counted = {
        "taken": states.total(),
        **{state.lower(): states[state] for state in ("SERVED", "ABSENT", "LEFT", "TRANSFERRED", "UNSERVED")},
        "called": sum(ledger.number[turn][0] == line for turn in ledger.called),
    }
    total = figures["total"]
    assert {name: total[name] for name in counted} == counted
    assert figures["waiting"] == 0
    assert total["abandoned"] == pytest.approx((states["LEFT"] + states["ABSENT"]) / states.total(), abs=0.001)
    assert {name: sum(hour["figures"][name] for hour in figures["hours"]) for name in counted} == counted
    (history,) = [one for one in await client.data(HISTORY, day=str(TODAY)) if LINES[one["service"]] == line]
    assert history["figures"] == counted
    records, after = [], None
    while True:
        page = await client.data(RECORDS, line=line, after=after)
        records += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert {one["number"]: one["state"] for one in records} == {
        ledger.shown(turn): state for turn, state in ledger.state.items() if ledger.number[turn][0] == line
    }
    waits = [seconds_between(one["since"], one["firstCalledAt"]) for one in records if one["firstCalledAt"]]
    assert total["wait"]["meanSeconds"] == pytest.approx(sum(waits) / len(waits), abs=0.1)


def seconds_between(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


async def core_stops(client: Client) -> None:
    """Nobody follows any more."""
    await client.services.live.stop()


async def the_day_was_as_lively_as_it_should(day: Day, ledger: Ledger) -> None:
    states = Counter(ledger.state.values())
    assert len(ledger.state) >= 600
    assert set(states) == {"SERVED", "ABSENT", "LEFT", "TRANSFERRED", "UNSERVED"}
    assert not ledger.counter, "a counter still has somebody"
    assert ledger.notices
    assert set(ledger.notices.values()) == {1}
    expected = {
        "takeTurn has_a_turn", "callNext nobody_waits", "callNext counter_paused", "callNext line_closed",
        "leaveLine turn_elsewhere", "requeueAbsent line_closed", "requeueAbsent has_a_turn", "askNotice turn_elsewhere",
        "transferTurn has_a_turn", "transferTurn line_closed", "takeTurn line_closed", "requeueAbsent turn_elsewhere",
            "requeueAbsent requeued_too_often",
    }  # fmt: skip
    assert set(day.refused) <= expected, day.refused
    came = {refused.partition(" ")[2] for refused in day.refused}
    assert came >= {"nobody_waits", "counter_paused", "has_a_turn", "line_closed"}, day.refused


async def the_board_says_what_the_log_says(hall: Hall, line: str, told: list[Any], ledger: Ledger) -> None:
    numbers: dict[str, list[int]] = {}
    for of, priority, number in ledger.number.values():
        if of == line:
            numbers.setdefault(priority, []).append(number)
    for given in numbers.values():
        assert sorted(given) == list(range(1, len(given) + 1))
    board = await hall.line(line)
    assert (board["state"], board["waiting"], board["next"]) == ("CLOSED", 0, [])
    assert {one["priority"]: one["taken"] for one in board["classes"]} == {
        priority: len(numbers.get(priority, [])) for priority in ("PREFERENTIAL", "APPOINTMENT", "NORMAL")
    }
    assert all(counter["turn"] is None for counter in board["counters"])


async def the_last_is_told(day: Day, name: str) -> None:
    """Wait until what is told of a line or a turn is what is so."""
    told = day.told[name]
    field, now = ("line", await day.hall.line(name)) if name in LINES.values() else ("turn", await day.hall.turn(name))
    for _ in range(TOLD_TRIES_MAX):
        if told and all(now[part] == value for part, value in told[-1][field].items()):
            return
        await asyncio.sleep(POLL_S)
    raise AssertionError((name, told[-1:], now))


def each_is_after_the_one_before(told: list[Any]) -> None:
    assert [one["previous"] for one in told] == [None, *(one["position"] for one in told[:-1])]
    positions = [int(one["position"]) for one in told]
    assert positions == sorted(set(positions))


def each_board_was_right_when_it_was_told(line: str, told: list[Any], ledger: Ledger) -> None:
    each_is_after_the_one_before(told)
    assert {one["line"]["countersOpen"] for one in told} >= ({3, 5} if line == LINES["cadastre"] else {3})
    for one in told:
        board, right = one["line"], ledger.boards[int(one["position"])]
        over = (
            right["closed"] or one["at"] >= CLOSES
        )  # by the clock, before anybody has closed it: nobody waits any more
        if over:
            classes = {priority: (0, taken) for priority, (_, taken) in right["classes"].items()}
            right = right | {"waiting": 0, "classes": classes, "next": set()}
        compared = on_the_board(board)
        assert compared == {name: right[name] for name in compared}, one
        assert set(board["next"]) <= right["next"]
        assert bool(board["next"]) == bool(right["next"])
        assert (board["state"] == "CLOSED") == over, one


def the_follow_up_says_what_the_log_says(turn: str, told: list[Any], ledger: Ledger) -> None:
    each_is_after_the_one_before(told)
    for one in told:
        state = ledger.state_at(turn, int(one["position"]))
        if state == "WAITING" and one["at"] >= CLOSES:
            state = "UNSERVED"  # by the clock
        assert (one["turn"]["number"], one["turn"]["state"]) == (ledger.shown(turn), state), one
    assert told[-1]["turn"]["state"] == ledger.state[turn]
    assert int(told[-1]["position"]) >= ledger.history[turn][-1][0]
