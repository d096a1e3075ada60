"""Pages by key in PostgreSQL: joined from either end they are the whole list, whatever is inserted between them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.rows import tuple_row

from projections.engine.columns import BigInt, Fixed
from projections.engine.keyset import ColumnOrder, Key, Range
from tests.examples import examples
from tests.towns import Town

BEGIN = datetime(2027, 1, 4, 12, tzinfo=UTC)


class Item(msgspec.Struct, frozen=True):
    """A row; items may have the same time, but not the same name or number."""

    name: str
    at: Fixed[datetime]
    number: Fixed[BigInt]


ORDERS = {
    "two columns": ColumnOrder(Item, "at", "name"),
    "text": ColumnOrder(Item, "name"),
    "latest first": ColumnOrder(Item, "number", descending=True),
    "two columns, latest first": ColumnOrder(Item, "at", "name", descending=True),
}


def in_order(name: str, items: list[Item]) -> list[Item]:
    return sorted(items, key=ORDERS[name].key, reverse="latest" in name)


@pytest.fixture
def table(town: Town) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(town.owner, row_factory=tuple_row) as connection:
        connection.execute('CREATE TEMP TABLE items (name text COLLATE "C", at timestamptz, number bigint)')
        yield connection


def insert(table: psycopg.Connection[Any], items: list[Item]) -> None:
    with table.cursor() as cursor:
        cursor.executemany("INSERT INTO items VALUES (%s, %s, %s)", [(one.name, one.at, one.number) for one in items])


def read(table: psycopg.Connection[Any], order: ColumnOrder[Item], part: Range) -> list[Item]:
    """A part of the list, in the order of the list."""
    page = order.keyset(part)
    select = f"SELECT * FROM items AS i WHERE true{page.where('i.')} ORDER BY {page.order('i.')} LIMIT %(limit)s"
    rows = [Item(*row) for row in table.execute(select, page.parameters)]
    return rows[::-1] if part.backward else rows


# Times of which some are the same, and names whose order is another than that of any language: "Z" < "a" < "á".
ITEMS = st.lists(
    st.tuples(st.text("ABZaz-áñ/0", min_size=1, max_size=4), st.integers(0, 3)),
    unique_by=lambda one: one[0],
    max_size=9,
).map(lambda found: [Item(name, BEGIN + timedelta(hours=hour), n) for n, (name, hour) in enumerate(found)])


@pytest.mark.parametrize("name", ORDERS)
def test_pages_joined_are_the_list_while_items_are_inserted(table: psycopg.Connection[Any], name: str) -> None:
    order = ORDERS[name]

    @settings(max_examples=examples(60), deadline=None)
    @given(ITEMS, st.integers(0, 9), st.integers(1, 4), st.booleans())
    def check(items: list[Item], there: int, size: int, backward: bool) -> None:
        table.execute("DELETE FROM items")
        first, later = items[:there], items[there:]
        insert(table, first)
        pages: list[list[Item]] = []
        bound: Key | None = None
        while True:
            part = Range(size, None if backward else bound, bound if backward else None, backward)
            page = read(table, order, part)
            if not page:
                break
            pages.append(page)
            bound = order.key(page[0] if backward else page[-1])
            insert(table, [later.pop()] if later else [])
        joined = [item for page in (reversed(pages) if backward else pages) for item in page]
        assert joined == in_order(name, joined)
        assert all(one != other for one, other in pairwise(joined))
        assert [item for item in joined if item in first] == in_order(name, first)

    check()


@pytest.mark.parametrize("name", ORDERS)
def test_a_part_between_two_items_is_read_from_either_end(table: psycopg.Connection[Any], name: str) -> None:
    order = ORDERS[name]

    @settings(max_examples=examples(60), deadline=None)
    @given(ITEMS.filter(bool), st.data())
    def check(items: list[Item], data: st.DataObject) -> None:
        table.execute("DELETE FROM items")
        insert(table, items)
        whole = in_order(name, items)
        after, before = (data.draw(st.integers(0, len(whole) - 1)) for _ in range(2))
        keys = order.key(whole[after]), order.key(whole[before])
        between = whole[after + 1 : before]
        limit = data.draw(st.integers(1, 9))
        assert read(table, order, Range(limit, *keys)) == between[:limit]
        assert read(table, order, Range(limit, *keys, backward=True)) == between[-limit:]

    check()
