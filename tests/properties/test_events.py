"""Whatever was stored: every category folds it, and the codec gives back what it was given."""

from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect, structs

from domain.decider import EVENTS, FOLDS, Event, fold, redacted
from infra.log.codec import Codec, subject_of
from tests.examples import examples

REASONABLE = settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
KEY, OTHER_KEY = bytes(range(32)), bytes(32)

INSTANTS = st.datetimes(timezones=st.just(UTC))
Values = Callable[[Any], st.SearchStrategy[Any]]


def any_values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type. Events have no rules: a fact stays readable whatever the rules for commands are later."""
    match kind:
        case inspect.StrType():
            return st.text(max_size=30)
        case inspect.IntType():
            return st.integers(-(2**63), 2**63 - 1)
        case _:
            return OTHERS[type(kind)](kind, any_values)


def few_values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type, few enough to meet again: ids, slots and days collide."""
    match kind:
        case inspect.StrType():
            return st.sampled_from(["", "a", "b", "la-merced/2027-01-15/p-1", "la-merced/2027-01-15/p-1/a"])
        case inspect.IntType():
            return st.sampled_from([-1, 0, 1, 2, 2**70])
        case _:
            return OTHERS[type(kind)](kind, few_values)


# A KeyError here means that an event has a field of a type that no event had before: say what its values are.
OTHERS: dict[type, Callable[[Any, Values], st.SearchStrategy[Any]]] = {
    inspect.DateTimeType: lambda _, values: INSTANTS,
    inspect.DateType: lambda _, values: st.dates(),
    inspect.NoneType: lambda _, values: st.none(),
    inspect.BoolType: lambda _, values: st.booleans(),
    inspect.LiteralType: lambda kind, _: st.sampled_from(kind.values),
    inspect.UnionType: lambda kind, values: st.one_of(*map(values, kind.types)),
    inspect.ListType: lambda kind, values: st.lists(values(kind.item_type), max_size=3),
    inspect.VarTupleType: lambda kind, values: st.lists(values(kind.item_type), max_size=3).map(tuple),
    inspect.DictType: lambda kind, values: st.dictionaries(values(kind.key_type), values(kind.value_type), max_size=3),
    inspect.StructType: lambda kind, values: st.builds(
        kind.cls, **{field.name: values(field.type) for field in kind.fields}
    ),
}


def events(values: Values, kinds: Sequence[type[Event]]) -> st.SearchStrategy[Any]:
    return st.one_of(*(values(inspect.type_info(kind)) for kind in kinds))


ALL = list(EVENTS.values())
WITH_SECRETS = [kind for kind in ALL if kind.personal_fields]


@pytest.mark.parametrize("category", FOLDS)
@REASONABLE
@given(happened=st.lists(events(few_values, ALL), max_size=12))
def test_every_category_folds_any_events_in_any_order(category: str, happened: list[Event]) -> None:
    assert fold(f"{category}/x", happened) == fold(f"{category}/x", happened)


@pytest.mark.parametrize("kind", ALL)
@REASONABLE
@given(data=st.data())
def test_an_event_round_trips_through_the_codec(kind: type[Event], data: st.DataObject) -> None:
    event: Event = data.draw(events(any_values, [kind]))
    codec = Codec()
    stored = codec.encode(event, KEY)
    assert codec.decode(event.event_name, stored, {_subject(event): KEY}) == event


@pytest.mark.parametrize("kind", WITH_SECRETS)
@REASONABLE
@given(data=st.data())
def test_without_its_key_an_event_has_no_personal_data(kind: type[Event], data: st.DataObject) -> None:
    event: Event = data.draw(events(any_values, [kind]))
    codec = Codec()
    stored = codec.encode(event, KEY)
    read = codec.decode(event.event_name, stored, {})
    assert read == redacted(event)
    assert all(getattr(read, field) is None for field in event.personal_fields)
    assert all(getattr(read, name) == getattr(event, name) for name in _plain(event))
    assert codec.sealed_subject(event.event_name, stored) == subject_of(event)


@pytest.mark.parametrize("kind", WITH_SECRETS)
@REASONABLE
@given(data=st.data())
def test_a_personal_text_is_not_in_the_stored_bytes(kind: type[Event], data: st.DataObject) -> None:
    event: Event = data.draw(events(any_values, [kind]))
    field = data.draw(st.sampled_from(sorted(event.personal_fields)))
    secret = "Quispe Mamani, born in La Paz"
    stored = Codec().encode(structs.replace(event, **{field: secret}), KEY)
    assert secret.encode() not in stored


@pytest.mark.parametrize("kind", WITH_SECRETS)
@REASONABLE
@given(data=st.data())
def test_personal_fields_need_their_own_key(kind: type[Event], data: st.DataObject) -> None:
    event: Event = data.draw(events(any_values, [kind]))
    codec = Codec()
    with pytest.raises(InvalidTag):
        codec.decode(event.event_name, codec.encode(event, KEY), {_subject(event): OTHER_KEY})
    with pytest.raises(ValueError, match="without a key"):
        codec.encode(event)


def _subject(event: Event) -> str:
    return subject_of(event) if event.subject_field else ""


def _plain(event: Event) -> set[str]:
    return set(event.__struct_fields__) - set(event.personal_fields)
