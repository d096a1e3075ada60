"""No number twice: two processes give turns of one line at once.

That only the check of versions keeps them apart is shown on a log that checks none.
"""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from domain.decider import build
from domain.errors import Rejected
from domain.identifiers import line_id
from domain.queues.line import TurnTaken
from domain.queues.opening import OpenLine
from domain.queues.turns import TakeTurn
from domain.service_points import RegisterServicePoint
from infra.log.committer import Committer
from infra.log.core import Core
from tests.city import key, opaque
from tests.conftest import Clock
from tests.faults.test_race import take_out_the_version_check
from tests.office import given
from tests.towns import Town
from tests.waiting import line_opened, recorded, take

PEOPLE = 200
LINE = line_id("sopocachi", "cadastre", Clock().now.date())


def test_two_decisions_on_one_state_give_the_same_number() -> None:
    """So nothing but the log can keep them apart."""
    office = given(line_opened()).after(take("ana"))
    numbers = [recorded(office.when(take(name)), TurnTaken)[0].number for name in ("eva", "luis")]
    assert numbers == [2, 2]


async def open_line(committer: Committer, clock: Clock) -> None:
    point = build(RegisterServicePoint, service_point="sopocachi", name="Sopocachi")
    line = build(
        OpenLine,
        service_point="sopocachi",
        service="cadastre",
        date=clock.now.date(),
        counters=[1, 2, 3],
        opens_at=clock.now,
        closes_at=clock.now + timedelta(hours=4),
    )
    await committer.submit(point, key("point"))
    await committer.submit(line, key("line"))


async def take_turn(committer: Committer, person: str, way: str) -> str:
    """What came of it, with a number of one's own for each way."""
    turn = f"{LINE}/{opaque(f'{person} {way}')}"
    command = build(TakeTurn, line=LINE, turn=turn, channel="WEB", person=opaque(person))
    try:
        await committer.submit(command, key(f"{person} {way}"))
    except Rejected as refusal:
        return refusal.code
    return "taken"


async def rush(committers: list[Committer], clock: Clock) -> Counter[str]:
    """Both know the line already; then everybody asks for a turn by both at once."""
    await open_line(committers[0], clock)
    for number, committer in enumerate(committers):
        await take_turn(committer, f"early {number}", "")
    answers = await asyncio.gather(
        *(
            take_turn(committer, f"person {n}", str(way))
            for n in range(PEOPLE)
            for way, committer in enumerate(committers)
        )
    )
    return Counter(answers)


def taken(town: Town) -> list[tuple[int, str]]:
    """Numbers with whose they are, in the order of the log."""
    rows = town.execute(
        "SELECT state->>'number', state->>'person' FROM event_log WHERE event = 'turn_taken.v1' ORDER BY position"
    )
    return [(int(str(number)), str(person)) for number, person in rows]


@pytest.mark.anyio
async def test_two_hundred_people_get_numbers_without_gaps(
    core: Core, other_committer: Committer, town: Town, clock: Clock
) -> None:
    answers = await rush([core.committer, other_committer], clock)
    assert answers == {"taken": PEOPLE, "has_a_turn": PEOPLE}
    given_out = taken(town)
    early = 2
    assert [number for number, _ in given_out] == list(range(1, PEOPLE + early + 1))
    assert len({person for _, person in given_out}) == PEOPLE + early


@pytest.mark.anyio
async def test_without_version_checks_numbers_are_repeated(
    core: Core, other_committer: Committer, town: Town, clock: Clock
) -> None:
    take_out_the_version_check(town)
    answers = await rush([core.committer, other_committer], clock)
    assert answers["taken"] > PEOPLE
    given_out = taken(town)
    assert max(Counter(number for number, _ in given_out).values()) > 1
    assert max(Counter(person for _, person in given_out).values()) > 1
