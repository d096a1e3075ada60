"""Any process is killed at any moment, round after round on one log: everybody was told the truth."""

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.rig import City, backends, busiest, frozen, victims

# Answers before the kill, of some 500 in a round: counted, not timed, or a fast machine is done before it comes.
BEFORE_ANSWERS = (10, 300)
AFTER_S = 0.3  # of load after the first answer
GIVEN_UP_S = 1.0  # a client's patience with something frozen
FROZEN_S = 2.5


def play(city: City, victim: str) -> Counter[str]:
    """One round: load, a kill in the middle of it, load until answers come again; then promises are checked."""
    with city.load():
        city.wait_for_answers(city.dice.randint(*BEFORE_ANSWERS))
        victims(city)[victim]()
        city.wait_until_back()
        time.sleep(AFTER_S)
    return city.check()


def test_each_part_killed_once_under_load(tmp_path: Path) -> None:
    with City(tmp_path / "city", seed=1) as city:
        answers = Counter[str]()
        for victim in ("a backend", "everything", "the server"):
            answers += play(city, victim)
            assert ("recovered in" in city.server.output) == (victim == "everything")
        # That there was load, however slow the machine is.
        assert answers["accepted"] > 30
        assert answers["slot_taken"]
        assert answers["lost"]


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_fifty_rounds_of_kills_at_random(tmp_path: Path) -> None:
    with City(tmp_path / "city", seed=2) as city:
        answers, killed = Counter[str](), Counter[str]()
        for _ in range(50):
            victim = city.dice.choice(list(victims(city)))
            answers += play(city, victim)
            killed[victim] += 1
        assert len(killed) == len(victims(city))
        assert answers["accepted"] > 500
        assert answers["slot_taken"] > 50
        assert answers["lost"] > 50


@pytest.mark.long
@pytest.mark.parametrize("part", ["a worker", "the database"])
def test_frozen_parts_repeat_nothing_afterwards(tmp_path: Path, part: str) -> None:
    """Clients give up waiting and ask again, which another process answers; then what was frozen does what it had."""
    with City(tmp_path / "city", seed=3, timeout_s=GIVEN_UP_S) as city:
        with city.load():
            city.wait_for_answers(BEFORE_ANSWERS[0])
            with frozen([busiest(city.server.workers())] if part == "a worker" else backends(city)):
                time.sleep(FROZEN_S)
            city.wait_until_back()
            time.sleep(AFTER_S)
        answers = city.check()
        assert answers["accepted"] > 30
        assert answers["lost"]
