"""A mutation that is derived from its command: what is declared wrongly is refused, with a word on what to do."""

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from api.graphql.access import EVERYBODY
from api.graphql.commands import Done, Gives, Takes, command
from api.graphql.fields import Info, RootField
from domain import decision
from domain.decider import Command

TAKES = Takes("What is noted.", text="The text.")
GIVES = Gives("What came of it.", noted="The text.")


class TakeNote(Command):
    text: Annotated[str, Meta(max_length=10)]


class Paint(Command):
    colour: Literal["RED", "BLUE"]


async def take_note(info: Info, done: Done[Any]) -> str | None: ...


async def take_two(info: Info, done: Done[Any]) -> tuple[str | None, str | None]: ...  # type: ignore[empty-body]


async def unsaid(info: Info, done: Done[Any]): ...  # type: ignore[no-untyped-def]


@pytest.fixture(autouse=True)
def _decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both commands have a decision, which no test asks."""
    one = decision.Decision(reads=lambda _: (), decide=lambda *_, now: (), asks_again=False)
    for kind in (TakeNote, Paint):
        monkeypatch.setitem(decision.DECISIONS, kind, one)


def declared(
    kind: type[Command] = TakeNote, *, takes: Takes = TAKES, gives: Gives = GIVES, shows: Any = take_note, **more: Any
) -> RootField:
    return command(kind, "Note it.", who=EVERYBODY, takes=takes, gives=gives, **more)(shows)


def test_a_valid_declaration_performs_its_command() -> None:
    field = declared()
    assert (field.name, field.commands) == ("take_note", (TakeNote,))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"takes": Takes("Nothing.")}, r"TakeNote: \['text'\] must be in `takes`, `adds` or `new_id`"),
        ({"takes": Takes("More.", text="The text.", mood="x")}, r"TakeNote has no fields \['mood'\]"),
        (
            {"adds": {"text": lambda context, grant: "set"}},
            r"\['text'\] must be in only one of `takes`, `adds` and `new_id`",
        ),
        ({"new_id": "text"}, r"\['text'\] must be in only one of"),
        ({"takes": Takes("Nothing."), "new_id": "text", "within": "book"}, "`takes`, which has no book"),
        ({"shows": take_two}, r"TakeTwoPayload: `gives` has \['noted'\], the function returns 2 values"),
        ({"shows": unsaid}, "unsaid needs an annotation of what it returns"),
        ({"kind": Paint, "takes": Takes("It.", colour="Its colour.")}, "declare one with @words_of"),
    ],
)
def test_a_wrong_declaration_fails_at_the_start(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        declared(**wrong)


def test_a_command_without_a_decision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    undecided: dict[Any, Any] = decision.DECISIONS
    monkeypatch.delitem(undecided, TakeNote)
    with pytest.raises(TypeError, match="take_note: nothing decides TakeNote: its decision needs @decides"):
        declared()
