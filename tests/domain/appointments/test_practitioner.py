"""Registering specialties, practitioners and rooms: under one name each, which is replaced only when asked."""

import pytest

from domain.appointments import practitioner, specialty
from domain.appointments.practitioner import (
    PractitionerRegistered,
    RegisterPractitioner,
    RegisterRoom,
    RoomRegistered,
    room_stream,
)
from domain.appointments.specialty import RegisterSpecialty, SpecialtyRegistered
from domain.decider import Command, Event, Recorded, build
from domain.errors import Rejected
from tests.office import COTAHUMA, LA_MERCED, PEDIATRICS, given, hospital_registered, publish, slot_times

LA_MERCED_REGISTERED = hospital_registered()
COTAHUMA_REGISTERED = hospital_registered(COTAHUMA)

SPECIALTY = RegisterSpecialty(specialty=PEDIATRICS, name="Pediatría")
SPECIALTY_REGISTERED = SpecialtyRegistered(specialty=PEDIATRICS, name="Pediatría")
DOCTOR = RegisterPractitioner(
    practitioner="p-1", name="Dra. Wara Quispe", specialties=[PEDIATRICS, "neurology"], hospital=LA_MERCED
)
DOCTOR_REGISTERED = PractitionerRegistered(
    practitioner="p-1", name="Dra. Wara Quispe", specialties=[PEDIATRICS, "neurology"], hospital=LA_MERCED
)
ROOM = RegisterRoom(room="dental-1", hospital=LA_MERCED, name="Consultorio dental 1")
ROOM_REGISTERED = RoomRegistered(room="dental-1", hospital=LA_MERCED, name="Consultorio dental 1")

KINDS: list[tuple[Command, Recorded]] = [
    (SPECIALTY, (specialty.stream(PEDIATRICS), SPECIALTY_REGISTERED)),
    (DOCTOR, (practitioner.stream("p-1"), DOCTOR_REGISTERED)),
    (ROOM, (room_stream("dental-1"), ROOM_REGISTERED)),
]


def renamed(command: Command, **more: object) -> Command:
    """The same with another name."""
    fields = {name: getattr(command, name) for name in command.__struct_fields__}
    return build(type(command), **fields | {"name": "Otro nombre"} | more)


@pytest.mark.parametrize(("command", "registered"), KINDS)
def test_a_name_is_registered_once(command: Command, registered: Recorded) -> None:
    given(LA_MERCED_REGISTERED).when(command).then(registered)
    given(LA_MERCED_REGISTERED, registered).when(command).nothing()


@pytest.mark.parametrize(("command", "registered"), KINDS)
def test_another_name_is_refused_unless_it_replaces(command: Command, registered: Recorded) -> None:
    office = given(LA_MERCED_REGISTERED, registered)
    stream, event = registered
    kind = stream.partition("/")[0]
    office.when(renamed(command)).rejected(f"{kind}_exists", path=kind, name=getattr(event, "name"))  # noqa: B009
    answer = office.when(renamed(command, replace=True))
    ((where, replaced),) = answer.recorded
    assert (where, getattr(replaced, "name", "")) == (stream, "Otro nombre")
    office.after(renamed(command, replace=True)).when(renamed(command)).nothing()


@pytest.mark.parametrize("command", [DOCTOR, ROOM])
def test_the_hospital_must_be_registered(command: Command) -> None:
    given().when(command).rejected("hospital_unknown", path="hospital", hospital=LA_MERCED)


def test_a_practitioner_needs_neither_hospital_nor_specialty() -> None:
    command = RegisterPractitioner(practitioner="p-1", name="Dr. Inti Choque")
    given().when(command).then(
        (practitioner.stream("p-1"), PractitionerRegistered(practitioner="p-1", name="Dr. Inti Choque"))
    )


@pytest.mark.parametrize(
    "other",
    [
        RegisterPractitioner(practitioner="p-1", name="Dra. Wara Quispe", specialties=[PEDIATRICS], hospital=LA_MERCED),
        RegisterPractitioner(practitioner="p-1", name="Dra. Wara Quispe", specialties=[PEDIATRICS, "neurology"]),
        RegisterPractitioner(
            practitioner="p-1", name="Dra. Wara Quispe", specialties=[PEDIATRICS, "neurology"], hospital=COTAHUMA
        ),
    ],
)
def test_other_details_of_a_practitioner_are_refused_too(other: RegisterPractitioner) -> None:
    office = given(LA_MERCED_REGISTERED, COTAHUMA_REGISTERED, DOCTOR_REGISTERED)
    office.when(other).rejected("practitioner_exists", path="practitioner", name="Dra. Wara Quispe")


def test_a_specialty_is_named_once() -> None:
    twice = RegisterPractitioner(practitioner="p-1", name="X", specialties=[PEDIATRICS, PEDIATRICS])
    given().when(twice).rejected("invalid_input", path="specialties", hint="once")


@pytest.mark.parametrize("replace", [False, True])
def test_a_code_names_a_practitioner_or_a_room_and_not_both(replace: bool) -> None:
    doctor = RegisterPractitioner(practitioner="dental-1", name="Dr. Inti Choque", replace=replace)
    given(ROOM_REGISTERED).when(doctor).rejected("room_exists", path="practitioner", name="Consultorio dental 1")
    room = RegisterRoom(room="p-1", hospital=LA_MERCED, name="Consultorio 1", replace=replace)
    office = given(LA_MERCED_REGISTERED, DOCTOR_REGISTERED)
    office.when(room).rejected("practitioner_exists", path="room", name="Dra. Wara Quispe")


def test_an_agenda_needs_no_registered_names() -> None:
    given(LA_MERCED_REGISTERED).when(publish(slot_times(2))).accepted()


@pytest.mark.parametrize(
    ("command", "field", "value", "hint"),
    [
        (RegisterSpecialty, "specialty", "Pediatría", "slug"),
        (RegisterSpecialty, "name", " ", "text"),
        (RegisterPractitioner, "practitioner", "p 1", "slug"),
        (RegisterPractitioner, "name", "", "text"),
        (RegisterPractitioner, "hospital", "la merced", "slug"),
        (RegisterRoom, "room", "", "slug"),
        (RegisterRoom, "hospital", "la/merced", "slug"),
        (RegisterRoom, "name", "x\ny", "text"),
    ],
)
def test_fields_have_a_form(command: type[Command], field: str, value: str, hint: str) -> None:
    right: dict[type[Command], dict[str, object]] = {
        RegisterSpecialty: {"specialty": "a", "name": "A"},
        RegisterPractitioner: {"practitioner": "a", "name": "A", "hospital": "a"},
        RegisterRoom: {"room": "a", "name": "A", "hospital": "a"},
    }
    with pytest.raises(Rejected) as refusal:
        build(command, **right[command] | {field: value})
    assert (refusal.value.code, refusal.value.path, refusal.value.details["hint"]) == ("invalid_input", field, hint)


@pytest.mark.parametrize("event", [SPECIALTY_REGISTERED, DOCTOR_REGISTERED, ROOM_REGISTERED])
def test_names_on_doors_are_not_personal_data(event: Event) -> None:
    assert (event.personal_fields, event.subject_field) == ((), "")
