"""What the log holds, and the laws that it must obey whatever happened to the processes around it."""

from collections import defaultdict
from typing import Any

import msgspec
import psycopg
from psycopg import sql


class Row(msgspec.Struct, frozen=True):
    """An event as an auditor reads it; `command` is the kept name of its idempotency key."""

    position: int
    stream: str
    version: int
    event: str
    state: dict[str, Any]
    command: str


def read_log(conninfo: str, *, schema: str = "la_paz", after: int = 0) -> list[Row]:
    """The events after a position, in order."""
    with psycopg.connect(conninfo) as connection:
        statement = sql.SQL(
            "SELECT position, stream, version, event, state, command_id FROM {} WHERE position > %s ORDER BY position"
        ).format(sql.Identifier(schema, "event_log"))
        return [Row(*row) for row in connection.execute(statement, [after]).fetchall()]


def check_laws(rows: list[Row]) -> None:
    """No position is missing or there twice, none of a stream's versions either, no slot is given twice, and the
    agendas' streams tell the same as the patients'."""
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    versions: dict[str, int] = defaultdict(int)
    for row in rows:
        versions[row.stream] += 1
        assert row.version == versions[row.stream], row
    _check_slots(rows)
    _check_both_sides(rows)


def _check_slots(rows: list[Row]) -> None:
    """A slot has at most one live appointment at each position."""
    live: dict[tuple[str, int], str] = {}
    slot_of: dict[str, tuple[str, int]] = {}
    for row in rows:
        if row.event == "appointment_booked.v1":
            slot = row.stream, row.state["slot"]
            assert slot not in live, f"{slot} has {live[slot]} and is given to {row}"
            appointment = row.state["appointment"]
            assert appointment not in slot_of, f"{appointment} is there twice"
            live[slot] = appointment
            slot_of[appointment] = slot
        elif row.event == "appointment_cancelled.v2":
            assert live.pop(slot_of[row.state["appointment"]]) == row.state["appointment"], row


def _check_both_sides(rows: list[Row]) -> None:
    """What one command wrote on an agenda it wrote on the patient in the next position, of the same appointment."""
    pairs = {
        "appointment_booked.v1": ("visit_taken.v1", "appointment"),
        "appointment_cancelled.v2": ("visit_given_up.v1", "appointment"),
        "slot_held.v1": ("hold_taken.v1", "hold"),
    }
    others = {event for event, _ in pairs.values()}
    expected: list[tuple[int, str, object, str]] = []
    found: list[tuple[int, str, object, str]] = []
    for row in rows:
        if row.event in pairs:
            event, field = pairs[row.event]
            expected.append((row.position + 1, event, row.state[field], row.command))
            if "patient" in row.state:
                assert rows[row.position].stream == f"patient/{row.state['patient']}"
        elif row.event in others:
            field = "hold" if row.event == "hold_taken.v1" else "appointment"
            found.append((row.position, row.event, row.state[field], row.command))
    assert found == expected


def written_by(rows: list[Row]) -> dict[str, list[Row]]:
    """What each command wrote, by the kept name of its key."""
    written: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        written[row.command].append(row)
    return written
