"""The README's first booking, its lines as they stand, against `igob serve --demo`."""

import json
import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.serving import CHECKOUT, IGOB, environment, serving

README_ADDRESS = "http://127.0.0.1:8000"


def first_booking(heading: str = "## The first booking") -> str:
    """The shell lines of that section."""
    section = (CHECKOUT / "README.md").read_text(encoding="utf-8").partition(heading)[2]
    found = re.search("```sh\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


def test_the_first_booking_works_as_written(tmp_path: Path) -> None:
    with serving(tmp_path / "city", "--demo", as_a_shell_does=True) as server:
        # Another server may have the README's port while tests run: the address is all that is changed.
        lines = first_booking().replace(README_ADDRESS, server.url())
        found, held, booked, refused, hidden, _, *again = answers(lines + lines)
        assert again == [held, booked, refused, hidden]
        judge(found, held, booked, refused)
        assert hidden == {"patient": None}
        time.sleep(1.1)  # RUN counts seconds
        *other, taken, called, seen = answers(lines + first_booking("## A turn in the line"))
    judge_turn(taken["takeTurn"], called["callNext"], seen)
    judge(*other[:4])
    assert other[2]["bookAppointment"]["appointment"]["id"] != booked["bookAppointment"]["appointment"]["id"]


def answers(lines: str) -> list[Any]:
    """What a shell of its own prints for these lines."""
    lines = lines.replace(".venv/bin/igob", shlex.join(IGOB))
    ran = subprocess.run(
        ["sh", "-e"], input=lines, capture_output=True, text=True, timeout=60, check=True, env=environment()
    )
    return [json.loads(line)["data"] for line in ran.stdout.split("\n") if line]


def judge(found: Any, held: Any, booked: Any, refused: Any) -> None:
    """A free slot was found, held and booked for one, and refused to the other with alternatives."""
    assert found["agendas"]["nodes"][0]["slots"]["nodes"]
    assert held["holdSlot"]["errors"] == []
    assert held["holdSlot"]["hold"]["heldUntil"]
    assert booked["bookAppointment"]["errors"] == []
    assert booked["bookAppointment"]["appointment"]["state"] == "BOOKED"
    (error,) = refused["bookAppointment"]["errors"]
    assert error["__typename"] == "SlotTaken"
    assert len(error["alternatives"]) == 3


def judge_turn(taken: Any, called: Any, seen: Any) -> None:
    """The turn was the line's first, was called, and is on the board."""
    assert taken["errors"] == called["errors"] == []
    assert (taken["turn"]["number"], taken["turn"]["state"], taken["turn"]["ahead"]) == ("A-001", "WAITING", 0)
    assert called["turn"] == {"number": "A-001", "state": "CALLED", "counter": 1}
    assert seen["line"] == {
        "waiting": 0, "countersOpen": 4, "lastCalls": [{"number": "A-001", "counter": 1}], "next": [],
    }  # fmt: skip
    assert (seen["turn"]["state"], seen["turn"]["counter"]) == ("CALLED", 1)


def test_the_makefile_serves_where_the_readme_says(tmp_path: Path) -> None:
    recipe = subprocess.run(["make", "-n", "serve"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert "igob serve --demo\n" in recipe
    assert README_ADDRESS in first_booking()
