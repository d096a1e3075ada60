"""The tables of the read models are what they were: data folders of earlier commits go on without a rebuild."""

from datetime import date
from typing import Any, Literal

import pytest

from api.contexts import read_models
from domain.decider import Instant, Value
from projections.engine.columns import BigInt, Bits, Fixed, JsonB, SmallInt, Text, columns_of
from projections.engine.projection import Row

# Whoever changes a column here raises the version of its read model: the tables that exist have the old one.
COLUMNS = {
    "availability": {
        "agenda": 'text COLLATE "C"',
        "hospital": 'text COLLATE "C"',
        "specialty": 'text COLLATE "C"',
        "practitioner": 'text COLLATE "C"',
        "date": "date",
        "release_at": "timestamptz",
        "first_start": "timestamptz",
        "quotas": "json",
        "starts": "timestamptz[]",
        "minutes": "int[]",
        "taken": "json",
        "unbooked": "varbit",
        "unbooked_count": "int",
        "first_unbooked": "int",
        "held": "int[]",
        "held_until": "timestamptz[]",
    },
    "appointments": {
        "appointment": 'text COLLATE "C"',
        "patient": 'text COLLATE "C"',
        "hospital": 'text COLLATE "C"',
        "specialty": 'text COLLATE "C"',
        "practitioner": 'text COLLATE "C"',
        "date": "date",
        "slot": "int",
        "start": "timestamptz",
        "minutes": "int",
        "state": "text",
    },
    "directory": {
        "entry": 'text COLLATE "C"',
        "kind": "text",
        "code": 'text COLLATE "C"',
        "name": "text",
        "simplified_name": 'text COLLATE "C"',
        "hospital": 'text COLLATE "C"',
        "specialties": "text[]",
        "contact": "json",
        "simplified_district": 'text COLLATE "C"',
    },
    "infractions": {
        "infraction": 'text COLLATE "C"',
        "plate": 'text COLLATE "C"',
        "code": "text",
        "description": "text",
        "place": "text",
        "district": "text",
        "simplified_district": 'text COLLATE "C"',
        "occurred_at": "timestamptz",
        "fine": "bigint",
        "paid": "bigint",
        "status": "text",
        "account": "json",
    },
    "service_points": {"service_point": 'text COLLATE "C"', "name": "text", "hospital": 'text COLLATE "C"'},
    "lines": {
        "line": 'text COLLATE "C"',
        "service_point": 'text COLLATE "C"',
        "service": 'text COLLATE "C"',
        "date": "date",
        "hospital": 'text COLLATE "C"',
        "opens_at": "timestamptz",
        "last_turn_at": "timestamptz",
        "closes_at": "timestamptz",
        "policy": "json",
        "counters": "json",
        "closed_at": "timestamptz",
        "last_at": "timestamptz",
        "absent_from": "timestamptz",
        "taken": "int",
        "waiting": "int",
        "called": "int",
        "serving": "int",
        "served": "int",
        "left": "int",
        "transferred": "int",
        "unserved": "int",
        "absent_turns": "text[]",
    },
    "turns": {
        "turn": 'text COLLATE "C"',
        "position": "bigint",
        "line": 'text COLLATE "C"',
        "service_point": 'text COLLATE "C"',
        "service": 'text COLLATE "C"',
        "date": "date",
        "hour": "smallint",
        "number": "int",
        "priority": "text",
        "channel": "text",
        "person": 'text COLLATE "C"',
        "reason": "text",
        "appointment": 'text COLLATE "C"',
        "since": "timestamptz",
        "taken_at": "timestamptz",
        "ahead": "int",
        "counters": "int",
        "moved_from": 'text COLLATE "C"',
        "state": "text",
        "counter": "int",
        "calls": "int",
        "first_called_at": "timestamptz",
        "called_at": "timestamptz",
        "started_at": "timestamptz",
        "ended_at": "timestamptz",
        "outcome": "text",
        "moved_to": 'text COLLATE "C"',
        "requeues": "int",
        "notice_minutes": "smallint",
    },
    "ownerships": {
        "ownership": 'text COLLATE "C"',
        "object": 'text COLLATE "C"',
        "owner": 'text COLLATE "C"',
        "since": "date",
    },
    "obligations": {
        "obligation": 'text COLLATE "C"',
        "object": 'text COLLATE "C"',
        "tax": 'text COLLATE "C"',
        "year": "int",
        "due": "date",
        "tax_centavos": "bigint",
        "paid_centavos": "bigint",
        "receipts": "json",
    },
    "outbox": {
        "message": 'text COLLATE "C"',
        "position": "bigint",
        "kind": "text",
        "happened_at": "timestamptz",
        "data": "jsonb",
    },
    "webhooks": {
        "webhook": 'text COLLATE "C"',
        "url": "text",
        "generation": "int",
        "kinds": "text[]",
        "since": "bigint[]",
    },
    "deliveries": {
        "delivery": 'text COLLATE "C"',
        "webhook": 'text COLLATE "C"',
        "position": "bigint",
        "state": "text",
        "attempts": "int",
        "next_at": "timestamptz",
        "history": "jsonb",
    },
}


# Columns that are written once, when the row is made.
FIXED = {
    "availability": "hospital specialty practitioner date release_at first_start quotas starts minutes",
    "appointments": "patient hospital specialty practitioner date slot start minutes",
    "directory": "kind code",
    "infractions": "plate code description place district simplified_district occurred_at fine",
    "service_points": "",
    "lines": "service_point service date hospital opens_at last_turn_at closes_at policy",
    "turns": "position line service_point service date hour number priority channel person reason appointment since"
    " taken_at ahead counters moved_from",
    "ownerships": "object owner since",
    "obligations": "object tax year due",
    "outbox": "position kind happened_at",
    "webhooks": "",
    "deliveries": "webhook position",
}


def test_tables_of_version_1_keep_their_columns() -> None:
    assert {name: dict(one.columns.types) for name, one in read_models().items()} == COLUMNS
    assert {name: tuple(one.columns.types) for name, one in read_models().items()} == {
        name: tuple(columns) for name, columns in COLUMNS.items()
    }
    assert {name: one.version for name, one in read_models().items()} == dict.fromkeys(COLUMNS, 1)


def test_columns_that_never_change_are_marked_in_the_row() -> None:
    assert {name: one.columns.fixed for name, one in read_models().items()} == {
        name: frozenset(fixed.split()) for name, fixed in FIXED.items()
    }


class Part(Value):
    a: int


class Sample(Row):
    key: str
    words: Text
    place: BigInt | None
    small: SmallInt
    bits: Bits
    state: Literal["A", "B"]
    day: date
    at: Fixed[Instant | None]
    fixed: Fixed[Text | None]
    names: list[str]
    places: list[BigInt]
    part: Part
    parts: JsonB[list[Part]]
    data: Fixed[JsonB[dict[str, Any]]]
    counts: dict[int, Part] = {}


def test_column_types_follow_from_the_fields() -> None:
    columns = columns_of(Sample)

    assert columns.types == {
        "key": 'text COLLATE "C"',
        "words": "text",
        "place": "bigint",
        "small": "smallint",
        "bits": "varbit",
        "state": "text",
        "day": "date",
        "at": "timestamptz",
        "fixed": "text",
        "names": "text[]",
        "places": "bigint[]",
        "part": "json",
        "parts": "jsonb",
        "data": "jsonb",
        "counts": "json",
    }
    assert columns.key == "key"
    assert columns.fixed == {"at", "fixed", "data"}
    assert columns.changing == tuple(name for name in columns.types if name not in {"key", "at", "fixed", "data"})


class Unknown(Row):
    key: str
    what: object


class Mixed(Row):
    key: str
    what: int | str


@pytest.mark.parametrize("row", [Unknown, Mixed])
def test_a_field_without_a_column_type_is_refused(row: type[Row]) -> None:
    with pytest.raises(TypeError, match=f"{row.__name__}: no column type for"):
        columns_of(row)
