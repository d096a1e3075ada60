"""The benchmark of live followers, in a short run."""

import msgspec
import pytest
from rich.console import Console

from bench import live
from bench.live import Change, Follower, Message, waits_s

QUIET = Console(quiet=True)


@pytest.mark.long
def test_followers_get_every_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SETTLE_S", 0.2)
    result = live.run(followers=20, per_s=20, seconds=1, console=QUIET)
    assert result.followers == 20
    assert 0 < result.messages <= 20
    assert result.changes_per_s > 0
    assert (result.missed, result.out_of_order) == (0, 0)
    assert 0 <= result.p50_ms <= result.p99_ms
    assert result.cpu_ms_per_s > 0
    assert result.worker_mib > 0
    assert msgspec.json.decode(msgspec.json.encode(result))["messages"] == result.messages
    live.show(result, QUIET)


def test_a_wait_ends_with_the_first_message_at_or_after_the_change() -> None:
    follower = Follower("h/2027-01-05/p")
    follower.messages = [Message(2, 1.0), Message(5, 3.0), Message(9, 4.0)]
    changes = [Change(follower.agenda, position, 2.5) for position in (4, 5, 9, 10)]
    assert waits_s(changes, [follower]) == ([0.5, 0.5, 1.5], 1)
    assert waits_s([Change(follower.agenda, 5, 3.5)], [follower]) == ([0.0], 0)


def test_a_message_with_a_wrong_previous_is_counted() -> None:
    follower = Follower("h/2027-01-05/p")
    for position, previous in ((2, None), (5, "2"), (9, "7")):
        fields = {"position": str(position), "previous": previous}
        follower._note({"payload": {"data": {"agenda": fields}}})
    assert [message.position for message in follower.messages] == [2, 5, 9]
    assert follower.out_of_order == 1
