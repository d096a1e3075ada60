"""The protocol: building commands from untrusted fields, declaring events and folds, deciding."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import inspect

from domain import decider, decision, people
from domain.appointments.agenda import Agenda, AgendaPublished, AppointmentBooked, AppointmentCancelled
from domain.appointments.attendance import CheckIn, MarkNoShow
from domain.appointments.booking import BookAppointment
from domain.appointments.cancelling import CancelAppointment
from domain.appointments.holding import HoldSlot
from domain.appointments.hospital import HospitalRegistered, HospitalUnknown, RegisterHospital
from domain.appointments.practitioner import RegisterPractitioner, RegisterRoom
from domain.appointments.publishing import PublishAgenda
from domain.appointments.rescheduling import RescheduleAppointment
from domain.appointments.specialty import RegisterSpecialty
from domain.arrivals import CheckInToLine, TakeTurnByAge, TakeTurnForAppointment
from domain.decider import (
    EVENTS,
    MUST_BE_REGISTERED,
    Command,
    Event,
    Personal,
    build,
    fold,
    fold_of,
    party_fields,
    redacted,
    required_parties,
    upcasts,
)
from domain.decision import DECISIONS, decide
from domain.errors import OrganisationUnknown, PersonUnknown, Rejected
from domain.identifiers import PARTY
from domain.infractions.catalogue import PublishInfractionCode
from domain.infractions.contesting import ContestInfraction, ResolveContest
from domain.infractions.issuing import IssueInfraction
from domain.infractions.places import PublishInfractionPaymentPlaces
from domain.infractions.settling import ReverseInfractionSettlement, SendToCollection, SettleInfraction
from domain.infractions.terms import PublishInfractionTerms
from domain.infractions.wage import PublishMinimumWage
from domain.obligations.amending import ApproveAmendment, ProposeAmendment, RejectAmendment
from domain.obligations.amnesty import DeclareAmnesty
from domain.obligations.holidays import PublishHolidays
from domain.obligations.interest import PublishInterestRates
from domain.obligations.obligation import AssessTax, ReverseSettlement, SettleObligation
from domain.obligations.scale import PublishScale
from domain.obligations.tax_year import ExtendPaymentTerm, PublishDiscountWindows
from domain.obligations.taxable_object import RegisterTaxableObject, TransferOwnership
from domain.obligations.ufv import PublishUfv
from domain.people import CorrectPerson, ErasePerson, PersonRegistered, RegisterPerson, RegisterPersonWithoutDocument
from domain.people.dependants import ConfirmDependant, DeclareDependant, EndDependency
from domain.people.organisation import CorrectOrganisation, RegisterOrganisation
from domain.people.representatives import (
    ConfirmRepresentation,
    EndRepresentation,
    RejectRepresentation,
    RequestRepresentation,
)
from domain.queues.calling import CallNext, CallTurn, FinishService, MarkAbsent, Recall, StartService
from domain.queues.opening import CloseLine, OpenLine, PauseCounter, ResumeCounter
from domain.queues.turns import AskNotice, GiveNotice, LeaveLine, RequeueAbsent, TakeTurn, TransferTurn
from domain.service_points import RegisterServicePoint
from domain.webhooks.delivery import RecordAttempt, ResendDelivery
from domain.webhooks.registration import RegisterWebhook, RemoveWebhook
from infra.log.submission import Overloaded
from tests.debts import HOUSE, OBLIGATION
from tests.infractions import INFRACTION
from tests.office import AGENDA, ANA, ILLIMANI, LA_MERCED, LUIS, NOW, appointment, at, opaque, published, states_read
from tests.waiting import LINE, OTHER, turn

# Building commands

RIGHT: dict[type[Command], dict[str, Any]] = {
    RegisterHospital: {
        "hospital": "la-merced",
        "name": "Hospital La Merced",
        "address": "Av. Los Sargentos 25",
        "district": "San Antonio",
        "phone": "+59122231800",
        "location": {"latitude_microdegrees": -16_495_546, "longitude_microdegrees": -68_133_623},
        "replace": True,
    },
    RegisterSpecialty: {"specialty": "pediatrics", "name": "Pediatría"},
    RegisterPractitioner: {
        "practitioner": "p-0012",
        "name": "Dra. Wara Quispe",
        "specialties": ["pediatrics"],
        "hospital": "la-merced",
    },
    RegisterRoom: {"room": "dental-1", "hospital": "la-merced", "name": "Consultorio dental 1"},
    PublishUfv: {"day": date(2021, 4, 24), "value": 236_520},
    PublishInterestRates: {
        "norm": "Ley 812",
        "effective_from": date(2016, 7, 1),
        "rates": [{"hundredths": 400, "until_year": 4}, {"hundredths": 600}],
    },
    PublishDiscountWindows: {
        "tax": "IPBI",
        "year": 2020,
        "norm": "LM 22",
        "windows": [{"first": date(2021, 7, 1), "last": date(2021, 8, 31), "hundredths": 1_000}],
    },
    ExtendPaymentTerm: {"tax": "IPBI", "year": 2020, "norm": "DM 8", "until": date(2021, 12, 31)},
    DeclareAmnesty: {
        "tax": "IPBI",
        "norm": "LAM 460",
        "first_year": 2012,
        "last_year": 2019,
        "windows": [{"first": date(2021, 8, 11), "last": date(2021, 9, 24), "hundredths": 1_000}],
    },
    PublishScale: {
        "tax": "IPBI",
        "from_year": 2015,
        "norm": "Ley 843",
        "steps": [{"above_centavos": 0, "excess_centavos": 0, "fixed_centavos": 0, "hundredths": 35}],
    },
    PublishHolidays: {"year": 2021, "norm": "DS 2750", "days": [date(2021, 1, 22)]},
    RegisterTaxableObject: {
        "kind": "PROPERTY",
        "number": "214775",
        "owner": ANA,
        "since": date(2015, 3, 1),
        "cadastral_code": "032-0123-0004-0000",
    },
    TransferOwnership: {"object": HOUSE, "owner": LUIS, "since": date(2020, 6, 1), "deed": "Testimonio 14"},
    AssessTax: {
        "object": HOUSE,
        "year": 2019,
        "due": date(2019, 12, 31),
        "norm": "RM 5/2020",
        "amount": {"centavos": 500_000},
    },
    SettleObligation: {
        "obligation": OBLIGATION,
        "amount": {"centavos": 500_000},
        "paid_on": date(2019, 12, 31),
        "reference": "R-1",
    },
    ReverseSettlement: {"obligation": OBLIGATION, "reference": "R-1", "reason": "cheque sin fondos"},
    ProposeAmendment: {
        "obligation": OBLIGATION,
        "amendment": opaque("amendment"),
        "amount": {"centavos": 400_000},
        "norm": "ARIT 77",
        "reason": "fallo",
        "proposed_by": opaque("eva"),
    },
    ApproveAmendment: {"obligation": OBLIGATION, "amendment": opaque("amendment"), "approved_by": opaque("luz")},
    RejectAmendment: {"obligation": OBLIGATION, "amendment": opaque("amendment"), "rejected_by": opaque("luz")},
    PublishAgenda: {
        "hospital": "la-merced",
        "specialty": "pediatrics",
        "practitioner": "p-0012",
        "date": date(2027, 1, 15),
        "slots": [{"start": at("08:00"), "minutes": 20}, {"start": at("08:20"), "minutes": 20}],
        "quotas": {"WEB": 1},
        "release_at": at("07:00"),
    },
    HoldSlot: {"hold": opaque("hold"), "agenda": AGENDA, "slot": 1, "patient": ANA, "hold_s": 300},
    BookAppointment: {"appointment": appointment(), "agenda": AGENDA, "slot": 1, "patient": ANA, "channel": "WEB"},
    CancelAppointment: {"appointment": appointment(), "reason": "MISTAKE"},
    RescheduleAppointment: {
        "appointment": appointment(),
        "agenda": AGENDA,
        "slot": 2,
        "moved_to": appointment("moved"),
        "any_specialty": True,
    },
    CheckIn: {"appointment": appointment()},
    MarkNoShow: {"appointment": appointment()},
    RegisterPerson: {
        "person": ANA,
        "identity": "4820193-1A LP",
        "identity_digest": "0" * 64,
        "given_names": "Ana",
        "family_names": "Quispe Mamani",
        "birth_date": date(1990, 5, 17),
        "sex": "F",
        "phone": "+59171234567",
        "email": "ana@example.org",
    },
    RegisterPersonWithoutDocument: {
        "person": ANA,
        "reason": "NEWBORN",
        "given_names": "Ana",
        "family_names": "Quispe Mamani",
        "birth_date": date(2027, 1, 14),
        "sex": "F",
    },
    CorrectPerson: {"person": ANA, "family_names": "Quispe de Mamani", "phone": ""},
    ErasePerson: {"person": ANA},
    DeclareDependant: {"guardian": ANA, "dependant": LUIS, "relation": "MINOR", "declared_by": opaque("clerk")},
    ConfirmDependant: {"guardian": ANA, "dependant": LUIS, "relation": "MINOR", "confirmed_by": opaque("officer")},
    EndDependency: {"guardian": ANA, "dependant": LUIS, "reason": "AUTHORITY"},
    RegisterOrganisation: {
        "organisation": ILLIMANI,
        "nit": "1023467024",
        "nit_digest": "0" * 64,
        "name": "Cooperativa Illimani R. L.",
    },
    CorrectOrganisation: {"organisation": ILLIMANI, "name": "Cooperativa Illimani"},
    RequestRepresentation: {"organisation": ILLIMANI, "representative": ANA, "requested_by": opaque("clerk")},
    ConfirmRepresentation: {
        "organisation": ILLIMANI,
        "representative": ANA,
        "confirmed_by": opaque("officer"),
        "last_day": date(2027, 12, 31),
    },
    RejectRepresentation: {"organisation": ILLIMANI, "representative": ANA},
    EndRepresentation: {"organisation": ILLIMANI, "representative": ANA, "reason": "AUTHORITY"},
    RegisterServicePoint: {"service_point": "sopocachi", "name": "Sopocachi", "hospital": "la-merced"},
    OpenLine: {
        "service_point": "sopocachi",
        "service": "cadastre",
        "date": date(2027, 1, 15),
        "counters": [1, 2],
        "opens_at": at("07:00"),
        "closes_at": at("12:30"),
        "policy": {"order": ["PREFERENTIAL", "NORMAL", "APPOINTMENT"], "one_in": 4},
    },
    CloseLine: {"line": LINE},
    PauseCounter: {"line": LINE, "counter": 1},
    ResumeCounter: {"line": LINE, "counter": 1},
    TakeTurn: {"line": LINE, "turn": turn("ana"), "channel": "WEB", "person": ANA, "reason": "PREGNANT"},
    TakeTurnByAge: {"line": LINE, "turn": turn("ana"), "channel": "WEB", "person": ANA},
    TakeTurnForAppointment: {"line": LINE, "turn": turn("ana"), "channel": "WEB", "appointment": appointment()},
    CheckInToLine: {"line": LINE, "turn": turn("ana"), "appointment": appointment()},
    LeaveLine: {"turn": turn("ana")},
    RequeueAbsent: {"turn": turn("ana")},
    TransferTurn: {"turn": turn("ana"), "to": OTHER, "moved_to": turn("ana", OTHER)},
    AskNotice: {"turn": turn("ana"), "ahead": 3},
    GiveNotice: {"turn": turn("ana")},
    CallNext: {"line": LINE, "counter": 1},
    CallTurn: {"turn": turn("ana"), "counter": 1},
    Recall: {"turn": turn("ana")},
    StartService: {"turn": turn("ana")},
    FinishService: {"turn": turn("ana"), "outcome": "REFERRED"},
    MarkAbsent: {"turn": turn("ana")},
    RegisterWebhook: {"webhook": "sms", "url": "https://example.org/hook", "name": "SMS", "kinds": ["notice_given"]},
    RemoveWebhook: {"webhook": "sms"},
    RecordAttempt: {"delivery": "sms/17", "attempt": 1, "status": 200},
    ResendDelivery: {"delivery": "sms/17"},
    PublishMinimumWage: {
        "effective_from": date(2026, 1, 1),
        "amount": 275_000,
        "norm": "DS 5500",
    },
    PublishInfractionCode: {
        "code": "t-12",
        "effective_from": date(2026, 1, 1),
        "description": "Estacionar en la acera",
        "norm": "LM 015/2012",
        "day_fines": 3,
    },
    PublishInfractionTerms: {
        "effective_from": date(2026, 1, 1),
        "norm": "Reglamento 428/2018",
        "day_fine_hundredths": 500,
        "discounts": [{"within_days": 5, "hundredths": 2_000}],
        "term_days": 30,
        "penalty_hundredths": 1_000,
        "contest_days": 15,
    },
    PublishInfractionPaymentPlaces: {"places": [{"name": "Banco Unión", "address": "Calle Loayza 1"}]},
    IssueInfraction: {
        "infraction": INFRACTION,
        "plate": "1234ABC",
        "code": "t-12",
        "place": "Av. 16 de Julio 1490",
        "district": "Centro",
        "occurred_at": at("08:00"),
        "guard": "g-451",
        "evidence": "photos/2027/17",
        "issued_by": opaque("guard"),
        "notified_on": date(2027, 1, 15),
    },
    ContestInfraction: {"infraction": INFRACTION, "statement": "Memorial 7"},
    ResolveContest: {
        "infraction": INFRACTION,
        "outcome": "UPHELD",
        "resolution": "RA 9/2027",
        "norm": "LM 015/2012",
        "resolved_by": opaque("officer"),
    },
    SettleInfraction: {
        "infraction": INFRACTION,
        "amount": 100,
        "paid_on": date(2027, 1, 15),
        "reference": "R-1",
    },
    ReverseInfractionSettlement: {"infraction": INFRACTION, "reference": "R-1", "reason": "Cheque"},
    SendToCollection: {"infraction": INFRACTION, "document": "OC 3/2027"},
}

SLUGS = [
    (RegisterHospital, "hospital"),
    (RegisterSpecialty, "specialty"),
    (RegisterPractitioner, "practitioner"),
    (RegisterRoom, "room"),
    *((PublishAgenda, name) for name in ("hospital", "specialty", "practitioner")),
]
REPRESENTING = (RequestRepresentation, ConfirmRepresentation, RejectRepresentation, EndRepresentation)
OPAQUE = [
    (HoldSlot, "hold"),
    (HoldSlot, "patient"),
    (BookAppointment, "patient"),
    (RegisterPerson, "person"),
    (RegisterPersonWithoutDocument, "person"),
    (CorrectPerson, "person"),
    (ErasePerson, "person"),
    (DeclareDependant, "declared_by"),
    (ConfirmDependant, "confirmed_by"),
    *((kind, who) for kind in (DeclareDependant, ConfirmDependant, EndDependency) for who in ("guardian", "dependant")),
    (RequestRepresentation, "requested_by"),
    (ConfirmRepresentation, "confirmed_by"),
    *((kind, "representative") for kind in REPRESENTING),
]
SLOT = {"start": at("08:00"), "minutes": 20}


def refusal(command: type[Command], **changed: Any) -> Rejected:
    with pytest.raises(Rejected) as refused:
        build(command, **RIGHT[command] | changed)
    assert refused.value.code == "invalid_input"
    return refused.value


def test_every_command_has_an_example_here() -> None:
    assert RIGHT.keys() == DECISIONS.keys()


# The decision takes only those of a list, and only bolivianos.
LOOKED_UP = {"RegisterWebhook.kinds[]"} | {
    f"{name}.currency"
    for name in ("AssessTax.amount", "AssessTax.base", "SettleObligation.amount", "ProposeAmendment.amount")
}


def unlimited(kind: inspect.Type, path: str) -> Iterator[str]:
    """The texts and lists within a type that have no length limit."""
    match kind:
        case inspect.StrType(max_length=None, pattern=None) | inspect.ListType(max_length=None):
            yield path
    match kind:
        case inspect.StructType():
            for field in kind.fields:
                yield from unlimited(field.type, f"{path}.{field.name}")
        case inspect.UnionType():
            for one in kind.types:
                yield from unlimited(one, path)
        case inspect.ListType() | inspect.VarTupleType():
            yield from unlimited(kind.item_type, f"{path}[]")
        case inspect.DictType():
            yield from unlimited(kind.key_type, f"{path}{{}}")
            yield from unlimited(kind.value_type, f"{path}{{}}")


@pytest.mark.parametrize("command", RIGHT)
def test_texts_and_lists_of_commands_have_limits(command: type[Command]) -> None:
    assert set(unlimited(inspect.type_info(command), command.__name__)) <= LOOKED_UP


@pytest.mark.parametrize("command", RIGHT)
def test_valid_fields_make_a_command(command: type[Command]) -> None:
    assert isinstance(build(command, **RIGHT[command]), command)


@pytest.mark.parametrize("command", RIGHT)
def test_a_missing_or_an_unknown_field_is_refused(command: type[Command]) -> None:
    unknown = refusal(command, surprise=1)
    assert (unknown.path, unknown.details) == ("surprise", {"hint": "type"})
    with pytest.raises(Rejected) as refused:
        build(command)
    assert (refused.value.code, refused.value.details) == ("invalid_input", {"hint": "type"})
    assert refused.value.path in command.__struct_fields__


@pytest.mark.parametrize(
    ("wrong", "path"),
    [({"hospital": 5}, "hospital"), ({"release_at": 5}, "release_at"), ({"quotas": {"FAX": 1}}, "quotas")],
)
def test_a_value_of_a_wrong_type_is_named(wrong: dict[str, Any], path: str) -> None:
    refused = refusal(PublishAgenda, **wrong)
    assert (refused.path, refused.details) == (path, {"hint": "type"})


@pytest.mark.parametrize(("command", "field"), SLUGS)
@pytest.mark.parametrize(
    "wrong", ["", "La-Merced", "la merced", "-merced", "merced-", "a--b", "a/b", "ñ", "a" * 41, "a\n"]
)
def test_a_code_is_short_and_plain(command: type[Command], field: str, wrong: str) -> None:
    refused = refusal(command, **{field: wrong})
    hint = "hospital_code" if command is RegisterHospital else "slug"
    assert (refused.path, refused.details) == (field, {"hint": hint})


@pytest.mark.parametrize("right", ["a", "7", "la-merced", "a" * 40])
def test_a_valid_code_is_accepted(right: str) -> None:
    assert build(RegisterHospital, hospital=right, name="x").hospital == right


@pytest.mark.parametrize(("command", "field"), OPAQUE)
@pytest.mark.parametrize(
    "wrong", ["", "ana", "A" * 26, "1" * 26, "a" * 25, "a" * 27, "../../etc/passwd", "a" * 26 + "\n"]
)
def test_an_id_is_opaque_and_has_26_characters(command: type[Command], field: str, wrong: str) -> None:
    refused = refusal(command, **{field: wrong})
    assert (refused.path, refused.details) == (field, {"hint": "person"})


@pytest.mark.parametrize("command", [RegisterOrganisation, CorrectOrganisation, *REPRESENTING])
@pytest.mark.parametrize(
    "wrong", ["", "illimani", ANA, f"org-{ANA}x", f"org-{ANA[1:]}", f"org{ANA}", f"ORG-{ANA}", f"org-{ANA}\n"]
)
def test_an_organisation_s_id_is_org_and_an_opaque_id(command: type[Command], wrong: str) -> None:
    refused = refusal(command, organisation=wrong)
    assert (refused.path, refused.details) == ("organisation", {"hint": "organisation"})


@pytest.mark.parametrize("command", [HoldSlot, BookAppointment, RescheduleAppointment])
@pytest.mark.parametrize(
    "wrong", ["", "la-merced", "la-merced/2027-1-15/p", "la-merced/2027-01-15/", f"{AGENDA}/x", f"{AGENDA}\n"]
)
def test_an_agenda_s_id_is_hospital_date_and_practitioner(command: type[Command], wrong: str) -> None:
    refused = refusal(command, agenda=wrong)
    assert (refused.path, refused.details) == ("agenda", {"hint": "agenda"})


@pytest.mark.parametrize("command", [BookAppointment, CancelAppointment, RescheduleAppointment, CheckIn, MarkNoShow])
@pytest.mark.parametrize(
    "wrong", ["", opaque("ficha"), AGENDA, f"{AGENDA}/x", f"/{AGENDA}/{opaque('ficha')}", f"{appointment()}\n"]
)
def test_an_appointment_s_id_is_its_agenda_s_and_an_opaque_id(command: type[Command], wrong: str) -> None:
    refused = refusal(command, appointment=wrong)
    assert (refused.path, refused.details) == ("appointment", {"hint": "appointment"})


@pytest.mark.parametrize(
    ("command", "field", "wrong", "hint"),
    [
        (RegisterPerson, "identity_digest", "0" * 63, "opaque"),
        (RegisterPerson, "identity_digest", "G" * 64, "opaque"),
        (RegisterPerson, "identity_digest", "0" * 64 + "\n", "opaque"),
        (RegisterPerson, "phone", "71234567\n", "phone"),
        (RegisterPerson, "email", "ana@example.org\n", "email"),
        (RegisterHospital, "name", "", "text"),
        (RegisterHospital, "address", "", "text"),
        (RegisterHospital, "district", "Sur\n", "text"),
        (RegisterHospital, "phone", "2-231800", "phone"),
        (RegisterHospital, "phone", "", "phone"),
        (RegisterHospital, "name", " \t", "text"),
        (RegisterPerson, "given_names", " ", "text"),
        (RegisterPerson, "given_names", "\u200b", "text"),
        (RegisterPerson, "given_names", "\u3164", "text"),
        (RegisterPerson, "family_names", "Quispe\u2028Mamani", "text"),
        (RegisterPerson, "family_names", "Quispe\x85Mamani", "text"),
        (RegisterHospital, "name", "\ufeffLa Merced", "text"),
        (RegisterPerson, "family_names", "", "text"),
        (RegisterPerson, "phone", "123456", "phone"),
        (RegisterPerson, "phone", "1" * 16, "phone"),
        (RegisterPerson, "phone", "7123-4567", "phone"),
        (RegisterPerson, "email", "ana", "email"),
        (RegisterPerson, "email", "ana@", "email"),
        (RegisterPerson, "email", "a na@example.org", "email"),
        (RegisterPerson, "email", "\x00\x1b[31m@x", "email"),
        (RegisterPerson, "email", "ana@\u202egro.elpmaxe", "email"),
        (RegisterPerson, "email", "a@b@c", "email"),
        (RegisterPerson, "country", "pe", "country"),
        (RegisterPerson, "country", "PER", "country"),
        (RegisterPerson, "country", "PE\n", "country"),
        (RegisterPerson, "document", "LIBRETA", "type"),
        (RegisterPersonWithoutDocument, "reason", "SHY", "type"),
        (RegisterPerson, "sex", "X", "type"),
        (RegisterPerson, "birth_date", "yesterday", "type"),
        (RegisterPerson, "birth_date", datetime(1990, 5, 17, 1, tzinfo=UTC), "type"),
        (RegisterPerson, "birth_date", None, "type"),
        (RegisterOrganisation, "nit", "01023467024", "nit"),
        (RegisterOrganisation, "nit", "123456", "nit"),
        (RegisterOrganisation, "nit", "1" * 14, "nit"),
        (RegisterOrganisation, "nit_digest", "0" * 63, "opaque"),
        (RegisterOrganisation, "name", " ", "text"),
        (ConfirmRepresentation, "last_day", "tomorrow", "type"),
        (BookAppointment, "channel", "FAX", "type"),
        (PublishAgenda, "date", "2027-02-30", "type"),
        (PublishAgenda, "release_at", "2027-01-15T07:00:00", "type"),  # no time zone, no instant
    ],
)
def test_an_invalid_value_is_refused_with_its_field_and_a_hint(
    command: type[Command], field: str, wrong: object, hint: str
) -> None:
    refused = refusal(command, **{field: wrong})
    assert (refused.path, refused.details) == (field, {"hint": hint})


@pytest.mark.parametrize(
    ("command", "field", "right", "wrong", "details"),
    [
        (RegisterHospital, "name", "x" * 120, "x" * 121, {"hint": "length", "bound": "<= 120"}),
        (RegisterHospital, "address", "x" * 200, "x" * 201, {"hint": "length", "bound": "<= 200"}),
        (
            RegisterPractitioner,
            "specialties",
            [f"s-{n}" for n in range(20)],
            [f"s-{n}" for n in range(21)],
            {"hint": "length", "bound": "<= 20"},
        ),
        (RegisterPerson, "identity", "1234", "123", {"hint": "length", "bound": ">= 4"}),
        (RegisterPerson, "identity", "1" * 20, "1" * 21, {"hint": "length", "bound": "<= 20"}),
        (RegisterPerson, "given_names", "x" * 120, "x" * 121, {"hint": "length", "bound": "<= 120"}),
        (RegisterPerson, "family_names", "x" * 120, "x" * 121, {"hint": "length", "bound": "<= 120"}),
        (RegisterPerson, "email", "a@" + "b" * 252, "a@" + "b" * 253, {"hint": "length", "bound": "<= 254"}),
        (PublishAgenda, "slots", [SLOT], [], {"hint": "length", "bound": ">= 1"}),
        (PublishAgenda, "slots", [SLOT] * 5_000, [SLOT] * 5_001, {"hint": "length", "bound": "<= 5000"}),
        (PublishAgenda, "quotas", {"WEB": 0}, {"WEB": -1}, {"hint": "number", "bound": ">= 0"}),
        (PublishAgenda, "quotas", {"WEB": 5_000}, {"WEB": 5_001}, {"hint": "number", "bound": "<= 5000"}),
        (HoldSlot, "slot", 1, 0, {"hint": "number", "bound": ">= 1"}),
        (HoldSlot, "slot", 5_000, 5_001, {"hint": "number", "bound": "<= 5000"}),
        (BookAppointment, "slot", 1, 0, {"hint": "number", "bound": ">= 1"}),
        (BookAppointment, "slot", 5_000, 5_001, {"hint": "number", "bound": "<= 5000"}),
        (HoldSlot, "hold_s", 1, 0, {"hint": "number", "bound": ">= 1"}),
        (HoldSlot, "hold_s", 3_600, 3_601, {"hint": "number", "bound": "<= 3600"}),
        (PublishMinimumWage, "amount", 1, 0, {"hint": "number", "bound": ">= 1"}),
        (PublishInfractionCode, "amount", 1, -1, {"hint": "number", "bound": ">= 1"}),
        (PublishInfractionCode, "description", "x" * 300, "x" * 301, {"hint": "length", "bound": "<= 300"}),
        (SettleInfraction, "amount", 10**15, 10**15 + 1, {"hint": "number", "bound": f"<= {10**15}"}),
        (HoldSlot, "hold_s", 3_600, 10**30, {"hint": "number", "bound": "<= 3600"}),
    ],
)
def test_a_value_beyond_a_limit_is_refused_with_the_limit(
    command: type[Command], field: str, right: object, wrong: object, details: dict[str, str]
) -> None:
    build(command, **RIGHT[command] | {field: right})
    refused = refusal(command, **{field: wrong})
    assert (refused.path, refused.details) == (field, details)


@pytest.mark.parametrize(
    ("wrong", "path", "details"),
    [
        ({"minutes": 0}, "slots.1.minutes", {"hint": "number", "bound": ">= 1"}),
        ({"minutes": 1_441}, "slots.1.minutes", {"hint": "number", "bound": "<= 1440"}),
        ({"start": "at eight"}, "slots.1.start", {"hint": "type"}),
        ({"start": "2027-01-15T08:00:00"}, "slots.1.start", {"hint": "type"}),
        ({"surprise": 1}, "slots.1.surprise", {"hint": "type"}),
    ],
)
def test_the_wrong_slot_of_many_is_named(wrong: dict[str, Any], path: str, details: dict[str, Any]) -> None:
    refused = refusal(PublishAgenda, slots=[SLOT, SLOT | wrong])
    assert (refused.path, refused.details) == (path, details)


@pytest.mark.parametrize(("field", "right"), [("phone", ""), ("email", ""), ("phone", "2123456"), ("email", "a@b")])
def test_contacts_are_optional(field: str, right: str) -> None:
    assert getattr(build(RegisterPerson, **RIGHT[RegisterPerson] | {field: right}), field) == right


# What every event, command and fold has


@pytest.mark.parametrize("kind", EVENTS.values())
def test_an_event_is_named_by_what_happened_and_its_version(kind: type[Event]) -> None:
    snake = re.sub("(?<!^)([A-Z])", r"_\1", kind.__name__).lower()
    assert re.fullmatch(rf"{snake}\.v[1-9][0-9]*", kind.event_name)


@pytest.mark.parametrize("kind", EVENTS.values())
def test_personal_fields_and_erasures_belong_to_a_subject(kind: type[Event]) -> None:
    if kind.personal_fields or kind.erases_subject:
        assert kind.subject_field in kind.__struct_fields__
        assert kind.subject_field not in kind.personal_fields


@pytest.mark.parametrize("command", RIGHT)
def test_a_command_reads_streams_that_fold(command: type[Command]) -> None:
    states = states_read(build(command, **RIGHT[command]), lambda stream: fold(stream, ()))
    assert all(isinstance(state, type(fold_of(stream).initial())) for stream, state in states.items())


@pytest.mark.parametrize("command", RIGHT)
def test_a_command_cannot_be_changed(command: type[Command]) -> None:
    built = build(command, **RIGHT[command])
    with pytest.raises(AttributeError):
        setattr(built, built.__struct_fields__[0], "other")


def test_initial_states_share_no_containers() -> None:
    first, second = fold("patient/x", ()), fold("patient/x", ())
    first.visits["x"] = 1
    assert second.visits == {}


def test_a_stream_of_an_undeclared_category_does_not_fold() -> None:
    with pytest.raises(KeyError):
        fold("nowhere/1", ())


# Declaring


@pytest.fixture
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the test's declarations afterwards."""
    for name in ("EVENTS", "UPCASTERS", "FOLDS"):
        monkeypatch.setattr(decider, name, {})
    monkeypatch.setattr(decision, "DECISIONS", {})


@pytest.mark.usefixtures("_own_registry")
def test_two_events_cannot_have_one_name() -> None:
    class First(Event, name="thing_happened.v1"):
        pass

    assert decider.EVENTS["thing_happened.v1"] is First
    with pytest.raises(TypeError, match=r"two events are named thing_happened\.v1"):

        class Second(Event, name="thing_happened.v1"):
            pass


@pytest.mark.usefixtures("_own_registry")
@pytest.mark.parametrize("name", ["", "thing_happened", "thing_happened.v0", "ThingHappened.v1", "thing happened.v1"])
def test_an_event_without_a_name_or_a_version_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=r"Nameless needs a name with a version"):

        class Nameless(Event, name=name):
            pass

    assert decider.EVENTS == {}


@pytest.mark.usefixtures("_own_registry")
def test_an_event_with_personal_fields_names_its_subject() -> None:
    with pytest.raises(TypeError, match="names no subject"):

        class Told(Event, name="told.v1"):
            secret: Personal[str]

    with pytest.raises(TypeError, match="names no subject"):

        class Forgotten(Event, name="forgotten.v1", erases=True):
            person: str

    class Kept(Event, name="kept.v1", subject="person"):
        person: str
        secret: Personal[str]
        note: str = ""

    assert Kept.personal_fields == ("secret",)
    assert redacted(Kept(person="p", secret="s", note="n")) == Kept(person="p", secret=None, note="n")


@pytest.mark.usefixtures("_own_registry")
def test_an_old_version_is_upcast() -> None:
    @upcasts("thing_happened.v1", "thing_happened.v2")
    def upcast(old: dict[str, Any]) -> dict[str, Any]:
        return old | {"new": True}

    assert decider.UPCASTERS["thing_happened.v1"] == decider.Upcaster(to="thing_happened.v2", upcast=upcast)


@pytest.mark.usefixtures("_own_registry")
def test_a_name_belongs_to_an_event_or_an_old_version() -> None:
    upcasts("thing_happened.v1", "thing_happened.v2")(dict)
    with pytest.raises(TypeError, match=r"thing_happened\.v1 is upcast to thing_happened\.v2"):

        class Old(Event, name="thing_happened.v1"):
            pass

    class New(Event, name="thing_happened.v2"):
        pass

    with pytest.raises(TypeError, match=r"thing_happened\.v2 is an event or upcast already"):
        upcasts("thing_happened.v2", "thing_happened.v3")(dict)
    with pytest.raises(TypeError, match=r"thing_happened\.v1 is an event or upcast already"):
        upcasts("thing_happened.v1", "thing_happened.v3")(dict)
    assert decider.EVENTS["thing_happened.v2"] is New


@pytest.mark.usefixtures("_own_registry")
def test_circular_upcasts_are_refused() -> None:
    upcasts("a.v1", "a.v2")(dict)
    upcasts("a.v2", "a.v3")(dict)
    for old, to in [("a.v3", "a.v1"), ("a.v3", "a.v2"), ("a.v3", "a.v3")]:
        with pytest.raises(TypeError, match=r"a\.v3 would be upcast to itself"):
            upcasts(old, to)(dict)
    assert set(decider.UPCASTERS) == {"a.v1", "a.v2"}


@pytest.mark.parametrize("kind", EVENTS.values())
def test_events_have_no_rules_so_that_old_ones_stay_readable(kind: type[Event]) -> None:
    """Not even lists of words: removing a channel must not make its bookings unreadable."""

    def leaves(of: Any) -> list[Any]:
        match of:
            case msgspec.inspect.UnionType():
                parts = of.types
            case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
                parts = (of.item_type,)
            case msgspec.inspect.DictType():
                parts = (of.key_type, of.value_type)
            case msgspec.inspect.StructType():
                parts = tuple(field.type for field in of.fields)
            case _:
                return [of]
        return [leaf for part in parts for leaf in leaves(part)]

    plain = [msgspec.inspect.type_info(of) for of in (str, int, bool, date, decider.Instant, None)]
    assert [leaf for leaf in leaves(msgspec.inspect.type_info(kind)) if leaf not in plain] == []


def test_an_obsolete_value_decodes_and_folds() -> None:
    stored: list[tuple[type[Event], bytes]] = [
        (AgendaPublished, msgspec.json.encode(published(quotas={"WEB": 1})).replace(b"WEB", b"FAX")),
        (
            AppointmentBooked,
            msgspec.json.encode({"appointment": appointment(), "slot": 1, "patient": ANA, "channel": "FAX"}),
        ),
        (
            AppointmentCancelled,
            msgspec.json.encode({"appointment": appointment(), "slot": 1, "channel": "FAX", "reason": "SNOW"}),
        ),
    ]
    agenda: Agenda = fold(f"agenda/{AGENDA}", (msgspec.json.decode(json, type=kind) for kind, json in stored))
    assert agenda.published is not None
    assert agenda.published.quotas == {"FAX": 1}
    assert agenda.taken == {"FAX": 0}
    assert agenda.cancelled[appointment()].reason == "SNOW"


def test_an_event_without_personal_fields_has_nothing_to_redact() -> None:
    event = HospitalRegistered(hospital=LA_MERCED, name="Hospital La Merced")
    assert redacted(event) == event


def test_an_event_is_stored_as_json_without_defaults() -> None:
    event = HospitalRegistered(hospital=LA_MERCED, name="Hospital La Merced")
    assert msgspec.json.decode(msgspec.json.encode(event)) == {"hospital": LA_MERCED, "name": "Hospital La Merced"}
    assert PersonRegistered.subject_field == "person"


# Deciding


def test_a_decision_yields_events_for_streams_and_changes_no_state() -> None:
    command = RegisterHospital(hospital=LA_MERCED, name="Hospital La Merced")
    states = {f"hospital/{LA_MERCED}": fold(f"hospital/{LA_MERCED}", ())}
    recorded = decide(command, states, NOW)
    assert [stream for stream, _ in recorded] == [f"hospital/{LA_MERCED}"]
    assert states == {f"hospital/{LA_MERCED}": fold(f"hospital/{LA_MERCED}", ())}
    assert decide(command, states, NOW) == recorded


def test_a_refusal_reads_well_in_a_log() -> None:
    assert str(HospitalUnknown(path="hospital", hospital="x")) == ("hospital_unknown at hospital (hospital='x')")
    assert str(Overloaded()) == "overloaded at the command"


def test_a_command_declares_its_required_parties() -> None:
    naming: dict[type[Command], dict[str, str]] = {
        HoldSlot: {"patient": people.stream(RIGHT[HoldSlot]["patient"])},
        BookAppointment: {"patient": people.stream(RIGHT[BookAppointment]["patient"])},
        TakeTurn: {"person": people.stream(RIGHT[TakeTurn]["person"])},
        RegisterTaxableObject: {"owner": people.stream(ANA)},
        TransferOwnership: {"owner": people.stream(LUIS)},
        TakeTurnByAge: {"person": people.stream(RIGHT[TakeTurnByAge]["person"])},
        RequestRepresentation: {"organisation": f"organisation/{ILLIMANI}"},
    }
    for command, fields in RIGHT.items():
        assert required_parties(build(command, **fields)) == naming.get(command, {})
    assert required_parties(build(TakeTurn, **RIGHT[TakeTurn] | {"person": None, "channel": "COUNTER"})) == {}


class Assess(Command):
    """A command that may be about a person or an organisation."""

    owner: Annotated[str, PARTY, MUST_BE_REGISTERED] | None = None


def test_a_required_party_is_a_person_or_an_organisation() -> None:
    assert required_parties(build(Assess, owner=ANA)) == {"owner": f"person/{ANA}"}
    assert required_parties(build(Assess, owner=ILLIMANI)) == {"owner": f"organisation/{ILLIMANI}"}
    assert required_parties(build(Assess)) == {}
    assert party_fields(Assess) == {"owner": (PersonUnknown, OrganisationUnknown)}
    assert party_fields(HoldSlot) == {"patient": (PersonUnknown,)}
    assert party_fields(RequestRepresentation) == {"organisation": (OrganisationUnknown,)}
    for wrong in ("la-merced", f"org-{ILLIMANI}", f"{ILLIMANI}/{ANA}", f"{ANA}\n"):
        with pytest.raises(Rejected) as refused:
            build(Assess, owner=wrong)
        assert (refused.value.path, refused.value.details) == ("owner", {"hint": "party"})


def test_a_required_party_has_the_form_of_an_id() -> None:
    class Wrong(Command):
        owner: Annotated[str, MUST_BE_REGISTERED]

    with pytest.raises(TypeError, match=r"Wrong\.owner must have the form of a party's id"):
        party_fields(Wrong)
