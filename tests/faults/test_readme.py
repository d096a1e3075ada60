"""The README's first booking and first turn: its shell blocks as they are, against `igob serve --demo`."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import parse, validate

from api.graphql.schema import schema
from tests.serving import CHECKOUT, IGOB, environment, serving

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
EXAMPLES = sorted((CHECKOUT / "examples").glob("*.graphql"))
BOOKING, TURN = "## The first booking\n", "## A turn in a line\n"


def blocks(heading: str, language: str = "sh") -> list[str]:
    """The code blocks of a section."""
    section = README.partition(heading)[2].partition("\n## ")[0]
    return re.findall(f"```{language}\n(.*?)```", section, re.DOTALL)


def run(lines: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the lines in a new shell, in which `igob` is the program under test and uses the data folder."""
    lines = f'igob() {{ {shlex.join(IGOB)} "$@"; }}\n{lines}'
    return subprocess.run(
        ["sh"],
        input=lines,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=environment(IGOB_DATA_DIR=str(folder)),
    )


def printed(lines: str, folder: Path, *, errors: int = 0) -> list[Any]:
    """The JSON that the lines print, in a new shell. So many requests may have errors."""
    ran = run(lines, folder)
    assert ran.stderr.count("\n") == errors, ran.stderr
    return list(_documents(ran.stdout))


def _documents(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        found, end = decoder.raw_decode(text)
        yield found
        text = text[end:]


@pytest.mark.long
@pytest.mark.timeout(480)  # forty programs one after another
def test_both_sections_work_in_any_shell_and_again(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    with serving(folder, "--demo", as_a_shell_does=True) as server:
        server.url()
        first = judge_booking(printed("".join(blocks(BOOKING)), folder, errors=1))
        assert judge_turn(printed("".join(blocks(TURN)), folder)) == "A-001"
        *lines, cancel = blocks(BOOKING)
        found = "examples/free-slot.graphql hospital=la-merced specialty=pediatrics --only availability.nextFree"
        another = "igob request examples/book.graphql --identity 4820193-1A key=another patient=$ANA"
        *others, conflict, cancelled = printed(
            "".join(
                [
                    *lines,
                    f"{another} agenda=$(igob request {found}.agenda.id) slot=$(igob request {found}.slot)\n",
                    cancel,
                ]
            ),
            folder,
            errors=1,
        )
        second = judge_booking([*others, cancelled])
        assert second != first
        (error,) = conflict["bookAppointment"]["errors"]
        assert error["appointment"] == {"id": second}
        assert judge_turn(printed("".join(blocks(TURN)), folder)) == "A-002"
    stopped = run("igob request examples/me.graphql", folder)
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert stopped.stderr.startswith(f"igob: no server uses {folder}: start one with `make serve`")


def judge_booking(responses: list[Any]) -> str:
    """The slot is booked for Ana, and refused to Luis; the appointment's id."""
    ana, luis, free, booked, refused, hidden, cancelled = responses
    for registered in (ana, luis):
        assert registered["registerPerson"]["errors"] == []
        assert registered["registerPerson"]["person"]["id"]
    assert free["availability"]["nextFree"]["agenda"]["id"]
    assert booked["bookAppointment"]["errors"] == []
    appointment = booked["bookAppointment"]["appointment"]
    assert appointment["state"] == "BOOKED"
    (error,) = refused["bookAppointment"]["errors"]
    assert refused["bookAppointment"]["appointment"] is None
    assert set(error) == {"message", "alternatives"}
    assert hidden == {"patient": None}
    assert cancelled["cancelAppointment"] == {
        "appointment": {"id": appointment["id"], "state": "CANCELLED"},
        "errors": [],
    }
    return str(appointment["id"])


def judge_turn(responses: list[Any]) -> str:
    """The turn is called and is on the board; its number."""
    taken, called, board, left = responses
    assert taken["takeTurn"]["errors"] == called["callNext"]["errors"] == left["leaveLine"]["errors"] == []
    number = taken["takeTurn"]["turn"]["number"]
    assert (taken["takeTurn"]["turn"]["state"], taken["takeTurn"]["turn"]["ahead"]) == ("WAITING", 0)
    assert called["callNext"]["turn"] == {"number": number, "state": "CALLED", "counter": 1}
    assert board["line"]["waiting"] == 0
    assert {"number": number, "counter": 1} in board["line"]["lastCalls"]
    assert left["leaveLine"]["turn"] == {"number": number, "state": "LEFT"}
    return str(number)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_each_example_is_valid_and_used(example: Path) -> None:
    assert validate(schema._schema, parse(example.read_text(encoding="utf-8"))) == []
    assert f"examples/{example.name} " in "".join(blocks(BOOKING) + blocks(TURN))


def test_the_readme_shows_the_example_as_it_is() -> None:
    assert blocks(BOOKING, "graphql") == [(CHECKOUT / "examples" / "book.graphql").read_text(encoding="utf-8")]


@pytest.mark.parametrize(("given", "command"), [((), "--demo"), (("PORT=8001",), "--demo --port 8001")])
def test_the_makefile_serves_where_the_readme_says(given: tuple[str, ...], command: str) -> None:
    # Where `make` runs the tests, its own flags would be inherited: "Entering directory" lines, or another PORT.
    own = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PORT"}
    }
    printed = subprocess.run(
        ["make", "-n", "serve", *given], cwd=CHECKOUT, env=own, capture_output=True, text=True, check=True
    )
    assert printed.stdout.endswith(f"igob serve {command}\n")
    assert " ".join(["make serve", *given]) in README.partition("## Start\n")[2].partition("\n## ")[0]
    assert "http://127.0.0.1:8000" in README
