"""Waiting in line over the API: what citizens, clerks and the board in the hall see."""

from datetime import timedelta
from typing import Any

import pytest

from api.graphql.context import Services
from api.graphql.queues.current_lines import CurrentLines
from domain.queues.calling import CallNext, FinishService, StartService
from infra.gateways.keys import Login
from infra.log.core import Core
from tests.api.conftest import DEVELOPER, Client
from tests.city import (
    DAY,
    TODAY,
    agenda,
    booking,
    hospital,
    key,
    opaque,
    open_line,
    person,
    service_point,
    take,
    turn_of,
)
from tests.conftest import Clock
from tests.following import follower
from tests.hall import CLERK, LINE, TURN, Hall

pytestmark = pytest.mark.anyio

CADASTRE = open_line().line
TAXES = open_line(service="taxes").line
WARD = open_line("ward-la-merced", "pediatrics", day=DAY).line
FOLLOW_LINE = f"""subscription ($id: ID!, $after: Position) {{
  line(id: $id, after: $after) {{ position previous line {{ {LINE} }} }} }}"""
FOLLOW_TURN = f"""subscription ($id: ID!, $after: Position) {{
  turn(id: $id, after: $after) {{ position previous turn {{ {TURN} }} }} }}"""


async def open_lines(core: Core) -> None:
    await core.committer.submit(service_point(), key("point"))
    for service in ("cadastre", "taxes"):
        await core.committer.submit(open_line(service=service), key(service))


@pytest.fixture
async def hall(client: Client, core: Core) -> Hall:
    """Two lines at Sopocachi, open since an hour, and a clerk who works there."""
    await open_lines(core)
    client.act_as(CLERK)
    return Hall(client)


async def test_a_turn_from_taking_to_service(hall: Hall, clock: Clock) -> None:
    for number in range(1, 4):
        turn = await hall.do("takeTurn", line=CADASTRE, channel="KIOSK")
        assert (turn["number"], turn["ahead"], turn["state"]) == (f"A-00{number}", number - 1, "WAITING")
        assert turn == await hall.turn(turn["id"])
    preferred = await hall.do("takeTurn", line=CADASTRE, channel="KIOSK", reason="PREGNANT")
    assert (preferred["number"], preferred["ahead"]) == ("P-001", 0)
    board = await hall.line(CADASTRE)
    assert (board["next"], board["waiting"], board["state"]) == (["P-001", "A-001", "A-002", "A-003"], 4, "OPEN")
    assert board["classes"] == [
        {"priority": "PREFERENTIAL", "waiting": 1, "taken": 1, "ahead": 1},
        {"priority": "APPOINTMENT", "waiting": 0, "taken": 0, "ahead": 1},
        {"priority": "NORMAL", "waiting": 3, "taken": 3, "ahead": 4},
    ]
    called = await hall.do("callNext", line=CADASTRE, counter=2)
    assert (called["number"], called["state"], called["counter"], called["calls"]) == ("P-001", "CALLED", 2, 1)
    assert called["comeUntil"] == "2027-01-04T12:01:30Z"
    clock.wait(20)
    assert (await hall.do("recall", turn=called["id"]))["comeUntil"] == "2027-01-04T12:01:50Z"
    assert (await hall.do("startService", turn=called["id"]))["state"] == "SERVING"
    clock.wait(300)
    served = await hall.do("finishService", turn=called["id"], outcome="DONE")
    assert (served["state"], served["endedAt"]) == ("SERVED", "2027-01-04T12:05:20Z")
    board = await hall.line(CADASTRE)
    assert board["lastCalls"] == [
        {"number": "P-001", "counter": 2, "calledAt": "2027-01-04T12:00:20Z", "calls": 2, "state": "SERVED"}
    ]
    assert board["counters"] == [{"number": n, "open": True, "turn": None} for n in (1, 2)]


async def test_an_absent_turn_can_be_requeued(hall: Hall, clock: Clock) -> None:
    first, *_ = [await hall.do("takeTurn", line=CADASTRE, channel="COUNTER") for _ in range(4)]
    await hall.do("callNext", line=CADASTRE, counter=1)
    early = await hall.refused("markAbsent", turn=first["id"])
    assert (early["code"], early["at"], early["path"]) == ("called_just_now", "2027-01-04T12:01:30Z", ["turn"])
    assert "08:01:30" in early["message"]
    clock.wait(90)
    absent = await hall.do("markAbsent", turn=first["id"])
    assert (absent["state"], absent["backUntil"]) == ("ABSENT", "2027-01-04T12:16:30Z")
    back = await hall.do("requeueAbsent", turn=first["id"])
    assert (back["state"], back["ahead"], back["backUntil"]) == ("WAITING", 2, None)
    assert (await hall.line(CADASTRE))["next"] == ["A-002", "A-003", "A-001", "A-004"]


async def test_a_transferred_turn_keeps_its_wait(hall: Hall, clock: Clock) -> None:
    turn = await hall.do("takeTurn", line=CADASTRE, channel="COUNTER")
    clock.wait(60)
    await hall.do("takeTurn", line=TAXES, channel="COUNTER")
    moved = await hall.do("transferTurn", turn=turn["id"], to=TAXES)
    assert (moved["number"], moved["ahead"], moved["since"]) == ("A-002", 0, turn["since"])
    document = "query ($id: ID!) { turn(id: $id) { state line { id } movedTo { id number line { id } } } }"
    assert await hall.client.data(document, id=turn["id"]) == {
        "state": "TRANSFERRED", "line": {"id": CADASTRE},
        "movedTo": {"id": moved["id"], "number": "A-002", "line": {"id": TAXES}},
    }  # fmt: skip
    assert (await hall.refused("leaveLine", turn=turn["id"]))["code"] == "turn_elsewhere"
    assert (await hall.do("leaveLine", turn=moved["id"]))["state"] == "LEFT"


async def test_calls_follow_the_policy(hall: Hall) -> None:
    hall.client.act_as(DEVELOPER)
    await hall.do(
        "openLine", servicePoint="sopocachi", service="patents", date="2027-01-04", counters=[7, 3],
        opensAt="2027-01-04T11:00:00Z", closesAt="2027-01-04T20:00:00Z", lastTurnAt="2027-01-04T19:30:00Z",
        policy={"order": ["APPOINTMENT", "NORMAL", "PREFERENTIAL"], "atLeast": "PREFERENTIAL", "oneIn": 2,
                "directCalls": True, "recallsMax": 0},
    )  # fmt: skip
    line = CADASTRE.replace("cadastre", "patents")
    board = await hall.line(line)
    assert [counter["number"] for counter in board["counters"]] == [3, 7]
    assert board["policy"] == {
        "order": ["APPOINTMENT", "NORMAL", "PREFERENTIAL"], "atLeast": "PREFERENTIAL", "oneIn": 2,
        "directCalls": True, "recallsMax": 0, "callTimeoutSeconds": 90, "requeueWithinSeconds": 900,
        "requeuesMax": 2, "earlyMinutesMax": 60,
    }  # fmt: skip
    hall.client.act_as(CLERK)
    turns = [
        await hall.do("takeTurn", line=line, channel="KIOSK", reason=reason) for reason in (None, None, "AGE", "INFANT")
    ]
    assert (await hall.line(line))["next"] == ["A-001", "P-001", "A-002", "P-002"]
    assert (await hall.do("callTurn", turn=turns[3]["id"], counter=3))["number"] == "P-002"
    assert (await hall.refused("recall", turn=turns[3]["id"]))["code"] == "recalled_too_often"
    refused = await hall.refused("callTurn", turn=(await hall.do("takeTurn", line=CADASTRE, channel="KIOSK"))["id"],
                                 counter=9)  # fmt: skip
    assert refused["code"] == "counter_unknown"


@pytest.mark.parametrize("field", ["callTimeoutSeconds", "requeueWithinSeconds", "oneIn"])
async def test_a_wrong_policy_is_refused_at_its_path(hall: Hall, field: str) -> None:
    wanted = {"servicePoint": "sopocachi", "service": "x", "date": "2027-01-04", "counters": [1],
              "opensAt": "2027-01-04T11:00:00Z", "closesAt": "2027-01-04T20:00:00Z"}  # fmt: skip
    refused = await hall.refused("openLine", **wanted, policy={field: -1})
    assert (refused["code"], refused["path"]) == ("invalid_input", ["policy", field])


async def test_a_counter_pauses_and_a_line_closes(hall: Hall) -> None:
    turns = [await hall.do("takeTurn", line=CADASTRE, channel="KIOSK") for _ in range(3)]
    await hall.do("callNext", line=CADASTRE, counter=1)
    paused = await hall.do("pauseCounter", line=CADASTRE, counter=1)
    assert (paused["countersOpen"], paused["counters"][0]["turn"]) == (1, {"number": "A-001", "state": "CALLED"})
    await hall.do("startService", turn=turns[0]["id"])
    await hall.do("finishService", turn=turns[0]["id"], outcome="REFERRED")
    assert (await hall.refused("callNext", line=CADASTRE, counter=1))["code"] == "counter_paused"
    assert (await hall.do("resumeCounter", line=CADASTRE, counter=1))["countersOpen"] == 2
    await hall.do("callNext", line=CADASTRE, counter=1)
    closed = await hall.do("closeLine", line=CADASTRE)
    assert (closed["state"], closed["closedAt"], closed["waiting"]) == ("CLOSED", "2027-01-04T12:00:00Z", 0)
    assert [(await hall.turn(turn["id"]))["state"] for turn in turns] == ["SERVED", "CALLED", "UNSERVED"]
    for mutation, wanted in (
        ("takeTurn", {"line": CADASTRE, "channel": "KIOSK"}),
        ("callNext", {"line": CADASTRE, "counter": 2}),
        ("recall", {"turn": turns[1]["id"]}),
    ):
        assert (await hall.refused(mutation, **wanted))["code"] == "line_closed"
    await hall.do("startService", turn=turns[1]["id"])
    assert (await hall.do("finishService", turn=turns[1]["id"]))["state"] == "SERVED"


async def test_a_line_ends_at_its_closing_time(hall: Hall, clock: Clock) -> None:
    """As docs/operations.md says of a scheduler that is away."""
    turn = await hall.do("takeTurn", line=CADASTRE, channel="KIOSK")
    clock.wait(24 * 3_600)
    board = await hall.line(CADASTRE)
    assert (board["state"], board["closedAt"], board["waiting"]) == ("CLOSED", None, 0)
    assert (await hall.turn(turn["id"]))["state"] == "UNSERVED"
    assert (await hall.refused("callNext", line=CADASTRE, counter=1))["code"] == "line_closed"


EXPECTED = """expected { middleSeconds half { fromSeconds toSeconds } most { fromSeconds toSeconds } }"""
EXPECT = f"""query ($line: ID!, $turn: ID!) {{
  line(id: $line) {{ classes {{ priority {EXPECTED} }} }} turn(id: $turn) {{ {EXPECTED} }} }}"""
TAKE = f"""mutation ($input: TakeTurnInput!) {{
  takeTurn(input: $input) {{ turn {{ id {EXPECTED} }} errors {{ code }} }} }}"""


def is_ordered(expected: dict[str, Any]) -> bool:
    half, most, middle = expected["half"], expected["most"], expected["middleSeconds"]
    ends = [most["fromSeconds"], half["fromSeconds"], middle, half["toSeconds"], most["toSeconds"]]
    return ends == sorted(ends)


async def test_expected_waits_are_learned_from_earlier_days(hall: Hall, core: Core, clock: Clock) -> None:
    """Each day ten people come at once, and each is served for twenty minutes."""
    prior = await expect(hall, TAXES)
    today = clock.now
    for days_ago in range(12, 0, -1):
        clock.now = today - timedelta(days=days_ago)
        day = open_line(day=TODAY - timedelta(days=days_ago), counters=1)
        await core.committer.submit(day, key(day.line))
        taken = [(await hall.do("takeTurn", line=day.line, channel="KIOSK"))["id"] for _ in range(10)]
        for turn in taken:
            await hall.do("callNext", line=day.line, counter=1)
            await hall.do("startService", turn=turn)
            clock.wait(1_200)
            await hall.do("finishService", turn=turn)
    clock.now = today + timedelta(minutes=11)  # then it is learned again
    await expect(hall, CADASTRE)
    await hall.client.services.of(CurrentLines).models.settled()
    known = await expect(hall, CADASTRE)
    assert 3 * prior["middleSeconds"] < known["middleSeconds"] < 3_600
    await hall.do("pauseCounter", line=CADASTRE, counter=1)
    longer = await expect(hall, CADASTRE)
    assert longer["middleSeconds"] > known["middleSeconds"]
    await hall.do("pauseCounter", line=CADASTRE, counter=2)
    assert await expect(hall, CADASTRE) is None


async def expect(hall: Hall, line: str) -> Any:
    """What a turn has to expect that is just taken, with two waiting before at least; it leaves again."""
    while (await hall.line(line))["waiting"] < 2:
        await hall.do("takeTurn", line=line, channel="KIOSK")
    number = f"{line}-{(await hall.line(line))['classes'][2]['taken']}"
    wanted = {"idempotencyKey": f"e-{number}", "line": line, "channel": "KIOSK"}
    taken = (await hall.client.data(TAKE, input=wanted))["turn"]
    shown = await hall.client.data(EXPECT, line=line, turn=taken["id"])
    assert shown["turn"]["expected"] == taken["expected"]
    await hall.do("leaveLine", turn=taken["id"])
    assert (await hall.client.data(EXPECT, line=line, turn=taken["id"]))["turn"]["expected"] is None
    for of in shown["line"]["classes"]:
        assert of["expected"] is None or is_ordered(of["expected"])
    assert taken["expected"] is None or is_ordered(taken["expected"])
    return taken["expected"]


async def test_a_repeated_request_returns_the_same(hall: Hall) -> None:
    for _ in range(2):
        await hall.do("takeTurn", line=CADASTRE, channel="KIOSK")
    taken = [await hall.ask("takeTurn", line=CADASTRE, channel="KIOSK", idempotencyKey="t") for _ in range(2)]
    assert taken[0] == taken[1]
    called = [await hall.ask("callNext", line=CADASTRE, counter=1, idempotencyKey="c") for _ in range(2)]
    assert called[0] == called[1]
    assert called[0]["turn"]["number"] == "A-001"
    await hall.do("startService", turn=called[0]["turn"]["id"])
    await hall.do("finishService", turn=called[0]["turn"]["id"])
    await hall.do("callNext", line=CADASTRE, counter=1)
    again = await hall.ask("callNext", line=CADASTRE, counter=1, idempotencyKey="c")
    assert (again["turn"]["number"], again["turn"]["state"]) == ("A-001", "SERVED")
    other = await hall.refused("callNext", line=CADASTRE, counter=2, idempotencyKey="c")
    assert other["code"] == "idempotency_key_reused"


async def test_a_citizen_takes_only_their_own_turn(hall: Hall, core: Core) -> None:
    await core.committer.submit(person("Ana", core), key("ana"))
    await core.committer.submit(person("Luis", core, ci="5000001"), key("luis"))
    ana = Login(subject="ana", identity="4820193")
    hall.client.act_as(ana)
    turn = await hall.do("takeTurn", line=CADASTRE, channel="WEB", person=opaque("Ana"))
    twice = await hall.refused("takeTurn", line=CADASTRE, channel="WEB", person=opaque("Ana"))
    assert (twice["code"], twice["turn"], twice["number"]) == ("has_a_turn", {"id": turn["id"]}, "A-001")
    young = await hall.refused("takeTurn", line=TAXES, channel="WEB", person=opaque("Ana"), reason="AGE")
    assert (young["code"], young["path"]) == ("not_preferential", ["reason"])
    for wanted in ({"person": opaque("Luis")}, {"person": opaque("Nobody")}, {}, {"person": opaque("Ana"),
                   "channel": "COUNTER"}):  # fmt: skip
        error = await hall.refused("takeTurn", **{"line": TAXES, "channel": "WEB"} | wanted)
        assert error["code"] == "forbidden"
    hall.client.act_as(CLERK)
    other = await hall.do("takeTurn", line=CADASTRE, channel="COUNTER", person=opaque("Luis"))
    hall.client.act_as(ana)
    assert (await hall.refused("leaveLine", turn=other["id"]))["code"] == "forbidden"
    noticed = await hall.do("askNotice", turn=turn["id"], minutes=10)
    assert noticed["notice"] == {"ahead": None, "minutes": 10}
    both = await hall.refused("askNotice", turn=turn["id"], minutes=10, ahead=3)
    assert (both["code"], both["path"]) == ("invalid_input", ["minutes"])
    assert (await hall.do("leaveLine", turn=turn["id"]))["state"] == "LEFT"


async def test_a_ficha_gives_its_own_class(client: Client, core: Core, clock: Clock) -> None:
    submit = core.committer.submit
    await submit(hospital(), key("hospital"))
    await submit(agenda(), key("agenda"))
    for name, ci in (("Ana", "4820193"), ("Luis", "5000001")):
        await submit(person(name, core, ci=ci), key(name))
    fichas = {name: booking(slot, name).appointment for slot, name in ((1, "Ana"), (2, "Luis"))}
    for slot, name in ((1, "Ana"), (2, "Luis")):
        await submit(booking(slot, name), key(f"book {name}"))
    hall = Hall(client)
    wrong = await hall.refused("registerServicePoint", servicePoint="x", name="X", hospital="no-such")
    assert (wrong["code"], wrong["path"]) == ("hospital_unknown", ["hospital"])
    await submit(service_point("ward-la-merced", "la-merced"), key("ward"))
    await submit(open_line("ward-la-merced", "pediatrics", day=DAY), key("line"))
    clock.wait(23 * 3600 + 1800)  # half past seven, the next day; Ana's ficha is at eight
    client.act_as(Login(subject="ana", identity="4820193"))
    foreign = await hall.refused("takeTurn", line=WARD, channel="WEB", appointment=fichas["Luis"])
    assert foreign["code"] == "forbidden"
    said = {"line": WARD, "channel": "WEB", "appointment": fichas["Ana"]}
    alone = await hall.refused("takeTurn", **said, person=opaque("Ana"))
    assert (alone["code"], alone["path"]) == ("invalid_input", ["appointment"])
    turn = await hall.do("takeTurn", **said)
    assert (turn["number"], turn["priority"]) == ("F-001", "APPOINTMENT")
    client.act_as(Login(subject="c", roles=["hospital_clerk"], hospitals=["la-merced"]))
    here = await hall.ask("checkIn", appointment=fichas["Ana"], line=WARD)
    assert (here["appointment"]["state"], here["turn"]["id"]) == ("CHECKED_IN", turn["id"])
    luis = await hall.ask("checkIn", appointment=fichas["Luis"], line=WARD, idempotencyKey="l")
    assert (luis["turn"]["number"], luis["errors"]) == ("F-002", [])
    assert luis == await hall.ask("checkIn", appointment=fichas["Luis"], line=WARD, idempotencyKey="l")


@pytest.mark.parametrize("shown", ["line", "turn"])
async def test_unknown_lines_and_turns_are_null(hall: Hall, shown: str) -> None:
    unknown = {"line": CADASTRE.replace("cadastre", "none"), "turn": turn_of("nobody", CADASTRE)}[shown]
    document = f"query ($id: ID!) {{ {shown}(id: $id) {{ id }} }}"
    assert await hall.client.data(document, id=unknown) is None
    for wrong in ("x", "../..", unknown + "\n", "half \ud800", "la-merced/2027-01-05/p-01"):
        (error,) = (await hall.client.ask(document, id=wrong))["errors"]
        assert (error["extensions"]["code"], error["extensions"]["path"]) == ("invalid_input", ["id"])


async def test_the_board_and_a_turn_can_be_followed(url: str, services: Services, core: Core, clock: Clock) -> None:
    await open_lines(core)
    submit = core.committer.submit
    mine = take(CADASTRE, "Ana")
    await submit(take(CADASTRE, "Luis"), key("luis"))
    await submit(mine, key("ana"))
    clerk: dict[str, Any] = {"line": CADASTRE, "counter": 1}
    async with follower(url, payload={}) as one:  # nobody in particular: the board hangs in the hall
        await one.follow(FOLLOW_LINE, id=CADASTRE)
        assert (await one.told())["line"]["waiting"] == 2
        await one.follow(FOLLOW_TURN, name="2", id=mine.turn)
        told = await one.told()
        assert (told["turn"]["number"], told["turn"]["ahead"], told["previous"]) == ("A-002", 1, None)
        await submit(CallNext(**clerk), key("call"))
        seen = {tuple(news): news for news in [await one.told(), await one.told()]}
        board, turn = seen["position", "previous", "line"], seen["position", "previous", "turn"]
        assert board["line"]["lastCalls"][0]["number"] == "A-001"
        assert (turn["turn"]["ahead"], turn["previous"]) == (0, told["position"])
    position = turn["position"]
    for command in finished(CADASTRE, "Luis", clerk):
        await submit(command, key(str(command)))
    async with follower(url, payload={}) as one:
        await one.follow(FOLLOW_TURN, id=mine.turn, after=str(position))
        told = await one.told()
        assert (told["turn"]["state"], told["previous"]) == ("CALLED", position)
        for command in finished(CADASTRE, "Ana", clerk)[:2]:
            await submit(command, key(str(command)))
        while told["turn"]["state"] != "SERVED":
            told = await one.told()
        await submit(take(CADASTRE, "Eva"), key("eva"))
        assert await one.silent(0.3)  # what is over is over


def finished(line: str, name: str, clerk: dict[str, Any]) -> list[Any]:
    """Whoever was called is served, and the next one called."""
    turn = turn_of(name, line)
    return [StartService(turn=turn), FinishService(turn=turn), CallNext(**clerk)]


async def test_a_new_turn_can_be_followed_at_once(url: str, core: Core) -> None:
    """Though others follow the line already, by a state in which it is not yet."""
    await open_lines(core)
    async with follower(url, payload={}) as one, follower(url, payload={}) as other:
        await one.follow(FOLLOW_LINE, id=CADASTRE)
        await one.told()
        for n in range(20):
            await core.committer.submit(take(CADASTRE, f"p{n}"), key(f"take {n}"))
            await other.follow(FOLLOW_TURN, name=str(n), id=turn_of(f"p{n}", CADASTRE))
            told = await other.told()
            assert (told["turn"]["number"], told["previous"]) == (f"A-{n + 1:03d}", None)
            await other.say(type="complete", id=str(n))


@pytest.mark.parametrize(
    ("document", "variables", "code"),
    [
        (FOLLOW_LINE, {"id": TAXES.replace("taxes", "none")}, "line_unknown"),
        (FOLLOW_TURN, {"id": turn_of("nobody", TAXES)}, "turn_unknown"),
        (FOLLOW_LINE, {"id": "la-merced/2027-01-05/p-01"}, "invalid_input"),
        (FOLLOW_TURN, {"id": TAXES}, "invalid_input"),
    ],
)
async def test_an_unknown_line_cannot_be_followed(
    url: str, core: Core, document: str, variables: dict[str, str], code: str
) -> None:
    await open_lines(core)
    async with follower(url, payload={}) as one:
        await one.follow(document, **variables)
        assert (await one.refused())["extensions"] == {"code": code, "path": ["id"]}
