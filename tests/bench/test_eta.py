"""Expected waits compared with actual ones: synthetic days, replay, scores, files."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from bench import eta
from bench.day import SERVICES, Day, Opening, Turn, days, events_of, histories
from bench.eta import Sample, learned, pinball_s, replay_file, replay_history
from bench.queue_csv import HistoryRefused, openings_of, read_history, write_history
from domain.queues import wait_model as models
from domain.queues.line import Line, TurnCalled, TurnTaken, evolve
from domain.queues.order import next_turn
from domain.queues.policy import Policy, Priority
from domain.queues.wait_model import WaitModel
from tests.serving import igob, igob_here

QUIET = Console(quiet=True)
PAYMENTS, LICENCES, HEARINGS = SERVICES
EIGHT = datetime(2026, 9, 1, 12, tzinfo=UTC)  # in La Paz


def at(minute: float) -> datetime:
    return EIGHT + timedelta(minutes=minute)


def turn(number: int, taken: float, *, priority: Priority = "NORMAL") -> Turn:
    return Turn(number=number, priority=priority, taken_at=at(taken))


def served(number: int, taken: float, called: float, ended: float) -> Turn:
    return Turn(
        number=number,
        priority="NORMAL",
        taken_at=at(taken),
        called_at=at(called),
        started_at=at(called),
        ended_at=at(ended),
        counter=1,
        outcome="SERVED",
    )


def test_the_same_seed_gives_the_same_days() -> None:
    assert days(HEARINGS, seed=7, count=2) == days(HEARINGS, seed=7, count=2)
    assert days(HEARINGS, seed=7, count=2) != days(HEARINGS, seed=8, count=2)


def test_a_day_has_a_rush_a_lunch_break_pauses_and_unserved_turns() -> None:
    made = days(LICENCES, seed=1, count=5)
    outcomes = Counter(turn.outcome for day in made for turn in day.turns)
    assert outcomes["SERVED"] > 10 * outcomes["ABSENT"] > 0 < outcomes["LEFT"]
    hours = Counter(turn.taken_at.hour - 4 for day in made for turn in day.turns)
    assert hours[8] > 1.5 * hours[12]

    def open_at(hour: float) -> float:
        moments = [day.turns[0].taken_at.replace(hour=4, minute=0, second=0) + timedelta(hours=hour) for day in made]
        pairs = zip(made, moments, strict=True)
        return sum(sum(one.since <= moment < one.until for one in day.openings) for day, moment in pairs) / len(made)

    assert open_at(12.5) < 0.75 * open_at(10)
    assert max(len(day.openings) for day in made) > 2 * LICENCES.counters


def test_a_counter_serves_one_turn_at_a_time_while_open() -> None:
    for day in days(PAYMENTS, seed=3, count=3):
        for counter in range(1, PAYMENTS.counters + 1):
            spans = sorted(
                (one.called_at, one.ended_at) for one in day.turns if one.called_at and one.counter == counter
            )
            assert all(end <= begin for (_, end), (begin, _) in pairwise(spans) if end and begin)
            opens = [(one.since, one.until) for one in day.openings if one.counter == counter]
            for called, ended in spans:
                assert called
                assert ended
                assert any(since <= called and ended <= until for since, until in opens)


def test_every_call_follows_the_policy() -> None:
    for service in (PAYMENTS, HEARINGS):
        [made] = days(service, seed=3, count=1)
        line = Line()
        for _, event in events_of(made):
            if isinstance(event, TurnCalled):
                assert event.turn == next_turn(line)
            line = evolve(line, event)
        assert line.opened
        assert line.opened.policy == Policy()
        states = Counter(one.state for one in line.turns.values())
        outcomes = Counter(one.outcome for one in made.turns)
        assert {name: states[name] for name in ("SERVED", "ABSENT", "LEFT", "UNSERVED")} == {
            **{name: outcomes[name] for name in ("SERVED", "ABSENT", "LEFT")},
            "UNSERVED": outcomes["NOT_CALLED"],
        }
        assert sum(states.values()) == len(made.turns)


def test_the_log_has_the_counters_opening_times() -> None:
    day = Day(
        turns=[served(1, 0, 1, 5), served(2, 2, 6, 9), served(3, 8, 40, 44)],
        openings=[Opening(counter=1, since=at(1), until=at(9))],  # and it calls once more, half an hour later
    )
    line, seen = Line(), []
    for moment, event in events_of(day):
        if isinstance(event, TurnTaken):
            assert (event.ahead, event.counters) == (line.waiting, line.counters_open)
        line = evolve(line, event)
        seen.append((moment, line.counters_open))
    assert [(minute, [many for moment, many in seen if moment <= at(minute)][-1]) for minute in (0, 1, 8, 9, 40)] == [
        (0, 0),
        (1, 1),
        (8, 1),
        (9, 0),
        (40, 1),
    ]


def test_events_of_one_instant_are_in_order() -> None:
    gone = turn(3, 2)
    gone.outcome, gone.ended_at = "LEFT", at(2)
    day = Day(turns=[served(1, 0, 0, 0), served(2, 0, 0, 4), gone], openings=[])
    assert [type(event).__name__ for _, event in events_of(day)] == [
        "LineOpened",
        "CounterPaused",
        "TurnTaken",
        "TurnTaken",
        "CounterResumed",
        "TurnCalled",
        "TurnCalled",
        "ServiceStarted",
        "ServiceFinished",
        "TurnTaken",
        "TurnLeft",
        "ServiceFinished",
        "LineClosed",
    ]
    assert events_of(Day(turns=[], openings=[])) == []


def test_a_turn_is_estimated_when_taken_and_every_ten_minutes() -> None:
    day = Day(
        turns=[served(1, 0, 0, 25), served(2, 1, 26, 30)],
        openings=[Opening(counter=1, since=at(-1), until=at(40))],
    )
    samples = eta.Replay(WaitModel()).test(day)
    assert [(one.moment, one.ahead, one.counters, one.actual_s) for one in samples] == [
        ("taken", 0, 1, 0),
        ("taken", 0, 1, 25 * 60),
        ("later", 0, 1, 17 * 60),
        ("later", 0, 1, 7 * 60),
    ]


def test_held_out_days_are_not_learned() -> None:
    gone = turn(3, 2)
    gone.outcome, gone.ended_at = "LEFT", at(20)
    day = Day(turns=[served(1, 0, 0, 25), gone, turn(4, 3)], openings=[Opening(counter=1, since=at(-1), until=at(26))])
    replay = eta.Replay(WaitModel())
    assert len(replay.test(day)) == 1
    assert len(replay.test(day, today=True)) == 1
    assert replay.model == WaitModel()


def test_today_is_learned_while_it_goes_on() -> None:
    turns = [served(number, 0, 20 * number, 20 * number + 19) for number in range(12)]
    day = Day(turns=turns, openings=[Opening(counter=1, since=at(-1), until=at(300))])
    replay = eta.Replay(WaitModel())

    def far_off_s(*, today: bool) -> float:
        later = [one for one in replay.test(day, today=today) if one.moment == "later"]
        return sum(pinball_s(one.quantiles_s, one.actual_s) for one in later)

    assert far_off_s(today=True) < 0.9 * far_off_s(today=False)  # twenty minutes each, where five are assumed


def test_time_until_the_next_call_counts_only_if_turns_waited() -> None:
    opening = Opening(counter=1, since=at(-1), until=at(90))
    busy = Day(turns=[served(1, 0, 0, 5), served(2, 1, 6, 10)], openings=[opening])
    idle = Day(turns=[served(1, 0, 0, 5), served(2, 30, 31, 35)], openings=[opening])
    assert sum(tally.seconds for tally in learned([busy]).model.served) == (6 + 4) * 60
    assert sum(tally.seconds for tally in learned([idle]).model.served) == (5 + 4) * 60


def test_learning_is_deterministic_and_bounded() -> None:
    known = days(HEARINGS, seed=2, count=4)
    model = learned(known).model
    assert model == learned(known).model
    assert model.days == 4
    assert sum(tally.count for tally in model.served) == sum(
        one.outcome == "SERVED" for day in known for one in day.turns
    )
    assert len(model.ratios) == len(models.PRIORITIES) * models.BUCKETS


def test_pinball_loss_is_minimal_at_the_quantiles() -> None:
    assert pinball_s([100] * 5, 100) == 0
    assert pinball_s([0] * 5, 100) == pytest.approx(50)  # the mean of the levels times 100
    assert pinball_s([200] * 5, 100) == pytest.approx(50)
    assert pinball_s([50, 80, 100, 120, 150], 100) < pinball_s([150, 120, 100, 80, 50], 100)


def sample(actual_s: float) -> Sample:
    return Sample("taken", 3, 1, (50, 80, 100, 120, 150), actual_s)


def test_scores_measure_coverage_and_compare_methods() -> None:
    point, others = [200.0] * 5, [160.0, 160.0, 180.0, 200.0, 200.0]
    compared = [eta.Compared(sample(actual), point, point, others) for actual in (49, 50, 79, 80, 120, 121, 150, 151)]
    found = eta.scores(compared)
    assert found
    assert (found.coverage_50, found.coverage_90) == (0.25, 0.75)
    assert (found.width_50_s, found.width_90_s) == (40, 100)
    assert found.to_plain == pytest.approx(found.pinball_s / found.plain_pinball_s, abs=0.01)
    assert found.to_constant > found.to_plain
    assert found.constant_coverage == 0
    assert eta.scores([]) is None


def test_the_report_on_synthetic_days() -> None:
    result = eta.run(seed=5, seeds=1, count=2, console=QUIET, of=[LICENCES, HEARINGS])
    assert [row.service for row in result.rows] == ["licences", "hearings"]
    for row, of_seed, new in zip(result.rows, result.seeds, result.new_service, strict=True):
        assert (row.seed, of_seed.seed, row.held_out_days, new.learned_days) == (None, 5, 2, 2)
        assert row.taken == of_seed.taken
        assert row.taken
        assert row.later
        assert row.taken.expectations == row.turns - row.never_called - row.nobody_could_say
        assert row.later.to_plain < 0.85
    for row, with_today in zip(result.rows, result.today, strict=True):
        assert with_today.turns == row.turns
        assert with_today.taken
        assert with_today.taken != row.taken
    both = [row.taken for row in result.rows if row.taken]
    alone, today = result.all_services
    assert alone.taken
    assert alone.taken.expectations == sum(found.expectations for found in both)
    assert min(both, key=lambda found: found.coverage_90).coverage_90 < alone.taken.coverage_90
    assert (alone.turns, today.turns) == (sum(row.turns for row in result.rows),) * 2
    assert 0 < result.us_per_expectation < 10_000
    assert 0 < result.us_per_event < 10_000
    eta.show(result, QUIET)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_intervals_have_their_coverage_on_held_out_days() -> None:
    result = eta.run(seed=11, seeds=2, count=25, console=QUIET)
    for row in result.rows:
        for found in (row.taken, row.later):
            assert found
            assert 0.84 <= found.coverage_90 <= 0.96  # of fifty days only: see bench/results for more
            assert 0.42 <= found.coverage_50 <= 0.58
            assert max(found.to_plain, found.to_constant) < 0.85


def test_a_history_round_trips_through_csv(tmp_path: Path) -> None:
    history = {service.name: days(service, seed=4, count=2) for service in (LICENCES, HEARINGS)}
    write_history(tmp_path / "days.csv", history)
    read = read_history(tmp_path / "days.csv")
    assert {name: [len(day.turns) for day in found] for name, found in read.items()} == {
        name: [len(day.turns) for day in made] for name, made in history.items()
    }
    result, again = replay_file(tmp_path / "days.csv"), replay_history(history, "memory")
    assert [row.service for row in result.rows] == ["hearings", "licences"]
    assert sorted(again.rows, key=lambda row: row.service) == result.rows
    assert result.rows[0].learned_days == result.rows[0].held_out_days == 1


def test_histories_are_of_every_service() -> None:
    assert {name: len(made) for name, made in histories(seed=1, count=1).items()} == {
        service.name: 1 for service in SERVICES
    }


PLAIN = """taken_at,started_at,ended_at,counter
2026-09-01T08:00,2026-09-01T08:01,2026-09-01T08:05,1
2026-09-01T08:02,2026-09-01T08:06,2026-09-01T08:09,1
2026-09-01T08:03,,,
2026-09-02T07:58,2026-09-02T08:00,2026-09-02T08:05,1
2026-09-02T08:01-04:00,2026-09-02T12:06Z,2026-09-02T12:09Z,1
2026-09-02T08:02,,2026-09-02T08:03,
"""


def test_only_three_columns_are_required(tmp_path: Path) -> None:
    (tmp_path / "plain.csv").write_text(PLAIN, encoding="utf-8")
    [[first, second]] = read_history(tmp_path / "plain.csv").values()
    assert [one.outcome for one in first.turns] == ["SERVED", "SERVED", "NOT_CALLED"]
    assert [one.outcome for one in second.turns] == ["SERVED", "SERVED", "LEFT"]
    assert first.openings == [Opening(counter=1, since=first.turns[0].called_at, until=first.turns[1].ended_at)]  # type: ignore[arg-type]
    [row] = replay_file(tmp_path / "plain.csv").rows
    assert (row.turns, row.never_called, row.learned_days) == (3, 1, 1)
    assert row.nobody_could_say == 1  # the first turn came before the counter had called anybody


def test_a_counter_without_calls_for_long_is_closed() -> None:
    openings = openings_of([served(1, 0, 0, 5), served(2, 0, 10, 15), served(3, 0, 40, 45)])
    assert [(one.since, one.until) for one in openings] == [(at(0), at(15)), (at(40), at(45))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("started_at,ended_at,counter\n", "no column taken_at"),
        (PLAIN.replace("08:05,1", "07:05,1"), "line 2: a turn is taken, called and ended in this order"),
        (PLAIN.replace("T08:06", "Tsix"), "line 3: "),
        (PLAIN.replace("08:09,1", "08:09,"), "line 3: a turn that was called has"),
        (PLAIN.replace("08:09,1", "08:09,one"), "line 3: "),
        (PLAIN.replace("counter\n", "counter,class\n").replace("08:09,1", "08:09,1,VIP"), "there is no class VIP"),
        (
            PLAIN.replace("counter\n", "counter,outcome\n").replace("08:09,1", "08:09,1,LOST"),
            "there is no outcome LOST",
        ),
        ("taken_at,started_at,ended_at,counter,outcome\n,,,1,OPEN\n", "line 2: a counter is open from"),
        ("taken_at,started_at,ended_at,counter\n,,,\n", "line 2: taken_at is missing"),
        (PLAIN[: PLAIN.index("2026-09-02")], "no service with two days"),
    ],
)
def test_an_invalid_file_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HistoryRefused, match=said):
        replay_file(path)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HistoryRefused, match="no CSV file"):
        replay_file(path)


@pytest.mark.long
def test_the_command_writes_and_replays_histories_and_reports_errors(tmp_path: Path) -> None:
    assert igob("bench", "eta", "--write", str(tmp_path / "days.csv"), "--days", "2", "--seed", "3").returncode == 0
    replayed = igob("bench", "eta", "--replay", str(tmp_path / "days.csv"), "--json")
    assert replayed.returncode == 0
    report = json.loads(replayed.stdout)
    assert [row["service"] for row in report["rows"]] == sorted(service.name for service in SERVICES)
    assert report["source"] == "days.csv"
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    refused = igob_here("bench", "eta", "--replay", str(tmp_path / "wrong.csv"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "igob: wrong.csv has no column taken_at" in refused.stderr
