"""Encoding and decoding of events, with versions and erasures."""

from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidTag

from domain.appointments.agenda import AppointmentCancelled
from domain.decider import EVENTS, UPCASTERS, Event, Personal, upcasts
from domain.people import PersonErased, PersonRegistered
from infra.log.codec import Codec, UnknownEvent

KEY = bytes(range(32))


@pytest.fixture
def _registries_restored() -> Any:
    registries: list[dict[str, Any]] = [EVENTS, UPCASTERS]
    before = [dict(registry) for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry.clear()
        registry.update(entries)


def registered() -> PersonRegistered:
    return PersonRegistered(
        person="p" * 26,
        identity_digest="0" * 64,
        identity="4820193",
        given_names="Ana",
        family_names="Mamani",
        birth_date=None,
        sex="F",
        phone="",
        email="",
    )


def test_an_event_is_plain_json_under_its_name() -> None:
    event = AppointmentCancelled(appointment="a", slot=1, channel="WEB", reason="OTHER")
    assert Codec().encode(event) == b'{"appointment":"a","slot":1,"channel":"WEB","reason":"OTHER"}'
    assert Codec().decode("appointment_cancelled.v2", Codec().encode(event), {}) == event


def test_personal_fields_open_only_with_the_subject_s_key() -> None:
    codec, event = Codec(), registered()
    stored = codec.encode(event, KEY)
    assert b"Ana" not in stored
    assert b"4820193" not in stored
    assert codec.sealed_subject("person_registered.v1", stored) == event.person
    assert codec.decode("person_registered.v1", stored, {event.person: KEY}) == event
    with pytest.raises(InvalidTag):
        codec.decode("person_registered.v1", stored, {event.person: bytes(32)})


def test_without_the_key_only_personal_fields_are_none() -> None:
    event = registered()
    read = Codec().decode("person_registered.v1", Codec().encode(event, KEY), {})
    assert isinstance(read, PersonRegistered)
    assert {getattr(read, field) for field in event.personal_fields} == {None}
    assert (read.person, read.identity_digest) == (event.person, event.identity_digest)


def test_the_same_data_are_sealed_differently_each_time() -> None:
    assert Codec().encode(registered(), KEY) != Codec().encode(registered(), KEY)


def test_sealed_fields_do_not_open_in_another_event() -> None:
    event = registered()
    moved = msgspec.json.decode(Codec().encode(event, KEY))
    moved["personal"]["subject"] = "q" * 26
    with pytest.raises(InvalidTag):
        Codec().decode("person_registered.v1", msgspec.json.encode(moved), {"q" * 26: KEY})


def test_a_personal_event_is_not_stored_without_a_key() -> None:
    with pytest.raises(ValueError, match="can't be stored without a key"):
        Codec().encode(registered())


def test_an_unknown_event_is_named() -> None:
    with pytest.raises(UnknownEvent, match=r"tax_forgiven\.v9"):
        Codec().decode("tax_forgiven.v9", b"{}", {})


def test_erasure_is_an_event_without_personal_fields() -> None:
    assert Codec().sealed_subject("person_erased.v1", Codec().encode(PersonErased(person="p" * 26))) is None


@pytest.mark.usefixtures("_registries_restored")
def test_older_versions_are_upcast_step_by_step() -> None:
    class OldNote(Event, name="note_taken.v1", subject="who"):
        who: str
        text: Personal[str]

    stored = Codec().encode(OldNote(who="ana", text="hola"), KEY)
    del EVENTS["note_taken.v1"]

    @upcasts("note_taken.v1", to="note_taken.v2")
    def _(raw: dict[str, Any]) -> dict[str, Any]:
        return {"whose": raw["who"], "said": raw.get("text")}

    @upcasts("note_taken.v2", to="note_taken.v3")
    def _(raw: dict[str, Any]) -> dict[str, Any]:
        return raw | {"loud": True}

    class Note(Event, name="note_taken.v3", subject="whose"):
        whose: str
        said: Personal[str]
        loud: bool

    assert Codec().decode("note_taken.v1", stored, {"ana": KEY}) == Note(whose="ana", said="hola", loud=True)
    assert Codec().decode("note_taken.v1", stored, {}) == Note(whose="ana", said=None, loud=True)


@pytest.mark.usefixtures("_registries_restored")
def test_an_upcaster_gets_none_for_erased_fields() -> None:
    class Named(Event, name="named.v1", subject="who"):
        who: str
        full_name: Personal[str]
        nickname: Personal[str] = "-"

    stored = Codec().encode(Named(who="ana", full_name="Ana Mamani"), KEY)
    del EVENTS["named.v1"]

    @upcasts("named.v1", to="named.v2", personal=("full_name", "nickname"))
    def _(raw: dict[str, Any]) -> dict[str, Any]:
        full_name = raw.pop("full_name")
        given, _, family = (full_name or "").partition(" ")
        return raw | {"given": full_name and given, "family": full_name and family}

    @upcasts("named.v2", to="named.v3", personal=("given", "family", "nickname"))
    def _(raw: dict[str, Any]) -> dict[str, Any]:
        return raw | {"initial": raw["given"] and raw["given"][0]}

    class Newest(Event, name="named.v3", subject="who"):
        who: str
        given: Personal[str]
        family: Personal[str]
        initial: Personal[str]
        nickname: Personal[str] = "-"

    read = Newest(who="ana", given="Ana", family="Mamani", initial="A")
    assert Codec().decode("named.v1", stored, {"ana": KEY}) == read
    gone = Newest(who="ana", given=None, family=None, initial=None, nickname=None)
    assert Codec().decode("named.v1", stored, {}) == gone


@pytest.mark.usefixtures("_registries_restored")
def test_a_personal_field_keeps_its_default() -> None:
    class Called(Event, name="called.v1", subject="who"):
        who: str
        nickname: Personal[str] = "-"

    stored = Codec().encode(Called(who="ana"), KEY)
    assert Codec().decode("called.v1", stored, {"ana": KEY}) == Called(who="ana")
    assert Codec().decode("called.v1", stored, {}) == Called(who="ana", nickname=None)


@pytest.mark.usefixtures("_registries_restored")
def test_a_name_belongs_to_one_event_and_personal_fields_need_a_subject() -> None:
    with pytest.raises(TypeError, match="two events are named"):

        class Twin(Event, name="person_erased.v1"):
            pass

    with pytest.raises(TypeError, match="names no subject"):

        class Careless(Event, name="careless.v1"):
            text: Personal[str]


def test_a_cancellation_of_version_1_has_no_slot() -> None:
    old = Codec().decode("appointment_cancelled.v1", b'{"appointment":"a","reason":"OTHER"}', {})
    assert old == AppointmentCancelled(appointment="a", slot=0, channel="", reason="OTHER")
