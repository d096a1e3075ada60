"""The table of docs/access.md, cell by cell, against the API: what it promises to each actor, and nothing else."""

from collections.abc import Callable
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from graphql import GraphQLField, GraphQLInterfaceType, GraphQLObjectType, GraphQLUnionType, get_named_type
from strawberry.utils.str_converters import to_camel_case

from api.access.identity import ROLES, Role
from api.graphql import links
from api.graphql.access import EVERYBODY, table
from api.graphql.context import Context
from api.graphql.engine.execution import Asked, Engine
from api.graphql.fields import NODE_QUERIES
from api.graphql.schema import FIELDS, schema
from infra.log.core import Core
from tests.api.access.actors import CI, LINE, LOGINS, NIT, OFFICES, OTHER_AGENDA, OTHER_LINE, house_of, pair, visit
from tests.api.conftest import Client
from tests.city import AGENDA, opaque, turn_of

RULES = {name: field.who for name, field in FIELDS.items()}
DOCS = Path(__file__).parents[3] / "docs" / "access.md"
# What only the person, and who works with them, may know.
PERSONAL = {"Person", "Patient", "Appointment", "Hold", "Dependant", "Representation", "TurnRecord"}
PERSONAL |= {"TaxableObject", "Obligation", "Infraction", "InfractionRecord"}
OWN = {"Query.viewer": {"Dependant", "Representation"}}  # what a query shows to everybody of themselves alone


class Place(NamedTuple):
    """What a field is asked about: what is the actors' own, or somebody else's."""

    hospital: str
    agenda: str
    person: str
    appointment: str
    channel: dict[Role, str]
    line: str
    turn: str

    @property
    def taxable_object(self) -> str:
        """A house of the person's."""
        return house_of("Ana" if self.person == opaque("Ana") else "Luis")

    @property
    def obligation(self) -> str:
        return f"{self.taxable_object}/year-2020"

    @property
    def service_point(self) -> str:
        return self.line.partition("/")[0]

    @property
    def dependant(self) -> str:
        """Eva, whom a clerk declared to be in the care of both Ana and Luis."""
        return f"{self.person}/{opaque('Eva')}"

    @property
    def organisation(self) -> str:
        """Illimani, which Ana represents, or Sajama, which Luis does."""
        return pair("", "Illimani" if self.person == opaque("Ana") else "Sajama")["organisation"]


def place(role: Role, *, own: bool) -> Place:
    """For a citizen own is what is Ana's, wherever; for a clerk what is at La Merced or Sopocachi, whosoever."""
    name = "Ana" if own or role != "citizen" else "Luis"
    where = AGENDA if own or role == "citizen" else OTHER_AGENDA
    line = LINE if own or role == "citizen" else OTHER_LINE
    return Place(
        hospital=where.partition("/")[0],
        agenda=where,
        person=opaque(name),
        appointment=visit(name, where).appointment,
        channel={"citizen": "WEB"},
        line=line,
        turn=turn_of(name, line),
    )


def query(field: str, arguments: str, selected: str, variables: Callable[[Place], dict[str, Any]]) -> Any:
    asked = f"query ({arguments})" if arguments else "query"
    return lambda at, role: (f"{asked} {{ {field} {{ {selected} }} }}", variables(at))


def mutation(name: str, wanted: Callable[[Place, Role], dict[str, Any]]) -> Any:
    kind = name[0].upper() + name[1:] + "Input"
    document = f"mutation ($input: {kind}!) {{ {name}(input: $input) {{ errors {{ code }} }} }}"
    return lambda at, role: (
        document,
        {"input": {"idempotencyKey": f"{role}/{at.agenda}/{at.person}", **wanted(at, role)}},
    )


NODES = "nodes { __typename }"
SLOT = {"start": "2027-01-09T12:00:00Z", "minutes": 20}
INFRACTION = f"1234abc/{opaque('none')}"
SAMPLES: dict[str, Callable[[Place, Role], tuple[str, dict[str, Any]]]] = {
    "Query.node hospital": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": f"hospital:{at.hospital}"}),
    "Query.node agenda": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.agenda}),
    "Query.node appointment": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.appointment}),
    "Query.node person": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.person}),
    "Query.hospital": query("hospital(code: $code)", "$code: String!", "id", lambda at: {"code": at.hospital}),
    "Query.appointment": query("appointment(id: $id)", "$id: ID!", "id", lambda at: {"id": at.appointment}),
    "Query.hospitals": query("hospitals(first: 1)", "", NODES, lambda at: {}),
    **{
        f"Query.{name}": query(f'{name}(code: "x-1")', "", "__typename", lambda at: {})
        for name in ("specialty", "practitioner", "room")
    },
    **{
        f"Query.node {name}": query(f'node(id: "{name}:x-1")', "", "id", lambda at: {})
        for name in ("specialty", "practitioner", "room")
    },
    **{
        f"Query.{name}": query(f"{name}(first: 1)", "", NODES, lambda at: {})
        for name in ("specialties", "practitioners", "rooms")
    },
    "Query.agenda": query("agenda(id: $id)", "$id: ID!", "id", lambda at: {"id": at.agenda}),
    "Query.agendas": query("agendas(hospital: $h, first: 1)", "$h: String!", NODES, lambda at: {"h": at.hospital}),
    "Query.availability": query('availability(specialty: "pediatrics")', "", "freeSlots", lambda at: {}),
    "Query.patient": query("patient(id: $id)", "$id: ID!", "__typename", lambda at: {"id": at.person}),
    "Query.appointments": query(
        "appointments(patient: $id, first: 1)", "$id: ID!", NODES, lambda at: {"id": at.person}
    ),
    "Query.person": query("person(id: $id)", "$id: ID!", "id", lambda at: {"id": at.person}),
    "Query.personByIdentity": query(
        "personByIdentity(identity: $ci)", "$ci: String!", "id",
        lambda at: {"ci": CI["Ana"] if at.person == opaque("Ana") else CI["Luis"]},
    ),
    "Query.dayList": query(
        'dayList(hospital: $h, date: "2027-01-05", first: 1)', "$h: String!", NODES, lambda at: {"h": at.hospital}
    ),
    "Query.utilisation": query(
        'utilisation(hospital: $h, onOrAfter: "2027-01-05", to: "2027-01-06")', "$h: String!", "slots",
        lambda at: {"h": at.hospital},
    ),
    "Query.viewer": query("viewer", "", "roles", lambda at: {}),
    "Query.taxableObject": query("taxableObject(code: $c)", "$c: String!", "id", lambda at: {"c": at.taxable_object}),
    "Query.node taxable-object": query(
        "node(id: $id)", "$id: ID!", "id", lambda at: {"id": f"taxable-object:{at.taxable_object}"}
    ),
    "Query.taxableObjectByNumber": query(
        "taxableObjectByNumber(kind: PROPERTY, number: $n)", "$n: String!", "id",
        lambda at: {"n": at.taxable_object.partition("-")[2]},
    ),
    "Query.taxableObjectByCadastralCode": query(
        "taxableObjectByCadastralCode(cadastralCode: $n)", "$n: String!", "id",
        lambda at: {"n": "0320123" + at.taxable_object.partition("-")[2]},
    ),
    "Query.taxableObjects": query(
        "taxableObjects(owner: $id, first: 1)", "$id: ID!", NODES, lambda at: {"id": at.person}
    ),
    "Query.obligation": query("obligation(id: $id)", "$id: ID!", "id", lambda at: {"id": at.obligation}),
    "Query.node obligation": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.obligation}),
    "Query.obligations": query(
        "obligations(taxpayer: $id, first: 1)", "$id: ID!", NODES, lambda at: {"id": at.person}
    ),
    "Query.accountStatement": query(
        'accountStatement(taxpayer: $id, asOf: "2021-12-01")', "$id: ID!", "asOf", lambda at: {"id": at.person}
    ),
    "Query.ufvQuotes": query("ufvQuotes(year: 2021)", "", "day", lambda at: {}),
    "Query.interestRates": query("interestRates", "", "norm", lambda at: {}),
    "Query.taxYear": query("taxYear(tax: IPBI, year: 2020)", "", "year", lambda at: {}),
    "Query.amnesties": query("amnesties(tax: IPBI)", "", "norm", lambda at: {}),
    "Query.scales": query("scales(tax: IPBI)", "", "norm", lambda at: {}),
    "Query.holidays": query("holidays(year: 2021)", "", "norm", lambda at: {}),
    "Mutation.publishUfv": mutation("publishUfv", lambda at, _: {"day": "2021-04-24", "value": "2.36520"}),
    "Mutation.publishInterestRates": mutation(
        "publishInterestRates", lambda at, _: {"norm": "x", "effectiveFrom": "2016-07-01", "rates": [{"percent": "4"}]}
    ),
    "Mutation.publishDiscountWindows": mutation(
        "publishDiscountWindows", lambda at, _: {"tax": "IPBI", "year": 2020, "norm": "x", "windows": []}
    ),
    "Mutation.extendPaymentTerm": mutation(
        "extendPaymentTerm", lambda at, _: {"tax": "IPBI", "year": 2020, "norm": "x", "until": "2021-12-31"}
    ),
    "Mutation.declareAmnesty": mutation(
        "declareAmnesty",
        lambda at, _: {
            "tax": "IPBI", "norm": "x", "firstYear": 2012, "lastYear": 2019,
            "windows": [{"first": "2021-08-11", "last": "2021-09-24", "percent": "10"}],
        },
    ),
    "Mutation.publishScale": mutation(
        "publishScale",
        lambda at, _: {
            "tax": "IPBI", "fromYear": 2020, "norm": "x",
            "steps": [{"above": "0", "excessAbove": "0", "fixed": "0", "percent": "1"}],
        },
    ),
    "Mutation.publishHolidays": mutation("publishHolidays", lambda at, _: {"year": 2021, "norm": "x", "days": []}),
    "Mutation.registerTaxableObject": mutation(
        "registerTaxableObject",
        lambda at, _: {"kind": "VEHICLE", "number": "1234ABC", "owner": at.person, "since": "2020-01-01"},
    ),
    "Mutation.transferOwnership": mutation(
        "transferOwnership",
        lambda at, _: {"object": at.taxable_object, "owner": at.person, "since": "2024-01-01", "deed": "x"},
    ),
    "Mutation.assessTax": mutation(
        "assessTax",
        lambda at, _: {
            "object": at.taxable_object, "year": 2021, "amount": "1", "due": "2022-12-31", "norm": "x",
        },
    ),
    "Mutation.settleObligation": mutation(
        "settleObligation",
        lambda at, _: {"obligation": at.obligation, "amount": "1", "paidOn": "2021-12-31", "reference": "R-1"},
    ),
    "Mutation.reverseSettlement": mutation(
        "reverseSettlement", lambda at, _: {"obligation": at.obligation, "reference": "R-1", "reason": "x"}
    ),
    "Mutation.proposeAmendment": mutation(
        "proposeAmendment", lambda at, _: {"obligation": at.obligation, "amount": "1", "norm": "x", "reason": "x"}
    ),
    **{
        f"Mutation.{name}": mutation(
            name, lambda at, _: {"obligation": at.obligation, "amendment": opaque("amendment")}
        )
        for name in ("approveAmendment", "rejectAmendment")
    },
    "Query.webhook": query('webhook(code: "sms")', "", "id", lambda at: {}),
    "Query.node webhook": query('node(id: "webhook:sms")', "", "id", lambda at: {}),
    "Query.delivery": query('delivery(id: "sms/1")', "", "id", lambda at: {}),
    "Query.node delivery": query('node(id: "sms/1")', "", "id", lambda at: {}),
    "Query.webhooks": query("webhooks", "", "id", lambda at: {}),
    "Query.deliveries": query('deliveries(webhook: "sms", first: 1)', "", NODES, lambda at: {}),
    "Mutation.registerWebhook": mutation(
        "registerWebhook",
        lambda at, _: {"webhook": "sms", "name": "SMS", "url": "https://sms.example.org", "kinds": ["NOTICE_GIVEN"]},
    ),
    "Mutation.removeWebhook": mutation("removeWebhook", lambda at, _: {"webhook": "sms"}),
    "Mutation.resendDelivery": mutation("resendDelivery", lambda at, _: {"delivery": "sms/1"}),
    "Mutation.registerHospital": mutation(
        "registerHospital", lambda at, _: {"hospital": at.hospital, "name": f"Hospital {at.hospital}"}
    ),
    "Mutation.registerSpecialty": mutation("registerSpecialty", lambda at, _: {"specialty": "s", "name": "Cirugía"}),
    "Mutation.registerPractitioner": mutation(
        "registerPractitioner", lambda at, _: {"practitioner": "p", "name": "Dra. Wara Quispe"}
    ),
    "Mutation.registerRoom": mutation(
        "registerRoom", lambda at, _: {"room": "r", "hospital": "la-merced", "name": "Consultorio 1"}
    ),
    "Mutation.publishAgenda": mutation(
        "publishAgenda",
        lambda at, _: {
            "hospital": at.hospital, "specialty": "s", "practitioner": "p", "date": "2027-01-09", "slots": [SLOT],
        },
    ),
    "Mutation.holdSlot": mutation("holdSlot", lambda at, _: {"agenda": at.agenda, "slot": 5, "patient": at.person}),
    "Mutation.bookAppointment": mutation(
        "bookAppointment",
        lambda at, role: {
            "agenda": at.agenda, "slot": 4, "patient": at.person, "channel": at.channel.get(role, "WINDOW"),
        },
    ),
    "Mutation.cancelAppointment": mutation("cancelAppointment", lambda at, _: {"appointment": at.appointment}),
    "Mutation.rescheduleAppointment": mutation(
        "rescheduleAppointment",
        lambda at, _: {"appointment": at.appointment, "agenda": at.agenda, "slot": 5 if at.agenda == AGENDA else 6},
    ),
    "Mutation.checkIn": mutation("checkIn", lambda at, _: {"appointment": at.appointment}),
    "Mutation.markNoShow": mutation("markNoShow", lambda at, _: {"appointment": at.appointment}),
    "Mutation.registerPerson": mutation(
        "registerPerson",
        lambda at, _: {
            "identity": CI["Ana"] if at.person == opaque("Ana") else "8000001",
            "givenNames": "Eva", "familyNames": "Quispe", "birthDate": "1990-05-17", "sex": "F",
        },
    ),
    "Mutation.registerPersonWithoutDocument": mutation(
        "registerPersonWithoutDocument",
        lambda at, _: {
            "reason": "NEWBORN", "givenNames": "Sol", "familyNames": "Quispe", "birthDate": "2027-01-03", "sex": "F",
        },
    ),
    "Query.dependants": query("dependants(guardian: $id, first: 1)", "$id: ID!", NODES, lambda at: {"id": at.person}),
    "Query.dependant": query("dependant(id: $id)", "$id: ID!", "id", lambda at: {"id": at.dependant}),
    "Query.node dependant": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.dependant}),
    "Mutation.correctPerson": mutation(
        "correctPerson",
        lambda at, role: {"person": at.person} | ({"identity": "8000002"} if role in OFFICES else {"phone": "7000000"}),
    ),
    "Mutation.declareDependant": mutation(
        "declareDependant", lambda at, _: {"guardian": at.person, "dependant": opaque("Juan"), "relation": "CARE"}
    ),
    "Mutation.confirmDependant": mutation(
        "confirmDependant", lambda at, _: {"guardian": at.person, "dependant": opaque("Eva"), "relation": "CARE"}
    ),
    "Mutation.endDependency": mutation(
        "endDependency", lambda at, _: {"guardian": at.person, "dependant": opaque("Eva")}
    ),
    "Query.organisation": query("organisation(id: $id)", "$id: ID!", "id", lambda at: {"id": at.organisation}),
    "Query.node organisation": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.organisation}),
    "Query.organisationByNit": query(
        "organisationByNit(nit: $nit)", "$nit: String!", "id",
        lambda at: {"nit": NIT["Illimani"] if at.person == opaque("Ana") else NIT["Sajama"]},
    ),
    "Query.representations": query(
        "representations(representative: $id, first: 1)", "$id: ID!", NODES, lambda at: {"id": at.person}
    ),
    "Query.representatives": query(
        "representatives(organisation: $id, first: 1)", "$id: ID!", NODES, lambda at: {"id": at.organisation}
    ),
    **{
        f"Query.{name}": query(
            f"{name.split()[0]}(id: $id)", "$id: ID!", "id", lambda at: {"id": f"{at.organisation}/{at.person}"}
        )
        for name in ("representation", "node representation")
    },
    "Mutation.registerOrganisation": mutation(
        "registerOrganisation", lambda at, role: {"nit": f"200000{ROLES.index(role)}", "name": "Cooperativa Tunari"}
    ),
    "Mutation.correctOrganisation": mutation(
        "correctOrganisation", lambda at, _: {"organisation": at.organisation, "name": "Cooperativa"}
    ),
    "Mutation.requestRepresentation": mutation(
        "requestRepresentation", lambda at, _: {"organisation": at.organisation, "representative": at.person}
    ),
    "Mutation.confirmRepresentation": mutation(
        "confirmRepresentation", lambda at, _: {"organisation": at.organisation, "representative": opaque("Eva")}
    ),
    "Mutation.rejectRepresentation": mutation(
        "rejectRepresentation", lambda at, _: {"organisation": at.organisation, "representative": opaque("Juan")}
    ),
    "Mutation.endRepresentation": mutation(
        "endRepresentation", lambda at, _: {"organisation": at.organisation, "representative": opaque("Eva")}
    ),
    "Mutation.erasePerson": mutation("erasePerson", lambda at, _: {"person": at.person}),
    "Query.minimumWage": query("minimumWage", "", "norm", lambda at: {}),
    "Query.infractionTerms": query("infractionTerms", "", "norm", lambda at: {}),
    "Query.infractionPaymentPlaces": query("infractionPaymentPlaces", "", "name", lambda at: {}),
    "Query.infractionCode": query('infractionCode(code: "t-12")', "", "id", lambda at: {}),
    "Query.node infraction-code": query('node(id: "infraction-code:t-12")', "", "id", lambda at: {}),
    "Query.infraction": query(f'infraction(id: "{INFRACTION}")', "", "id", lambda at: {}),
    "Query.node infraction": query(f'node(id: "{INFRACTION}")', "", "id", lambda at: {}),
    "Query.infractionsOf": query('infractionsOf(plate: "1234 ABC", first: 1)', "", NODES, lambda at: {}),
    "Query.infractions": query("infractions(state: ISSUED, first: 1)", "", NODES, lambda at: {}),
    "Query.infractionTotals": query("infractionTotals", "", "state", lambda at: {}),
    "Mutation.publishMinimumWage": mutation(
        "publishMinimumWage", lambda at, _: {"effectiveFrom": "2026-01-01", "amount": "2750", "norm": "DS 5500"}
    ),
    "Mutation.publishInfractionCode": mutation(
        "publishInfractionCode",
        lambda at, _: {
            "code": "t-12", "effectiveFrom": "2026-01-01", "description": "Estacionar", "norm": "LM 15", "dayFines": 3,
        },
    ),
    "Mutation.publishInfractionTerms": mutation(
        "publishInfractionTerms",
        lambda at, _: {
            "effectiveFrom": "2026-01-01", "norm": "R", "dayFinePercent": "5", "discounts": [], "termDays": 30,
            "penaltyPercent": "10", "contestDays": 15,
        },
    ),
    "Mutation.publishInfractionPaymentPlaces": mutation(
        "publishInfractionPaymentPlaces", lambda at, _: {"places": [{"name": "Banco", "address": "Calle Loayza 1"}]}
    ),
    "Mutation.issueInfraction": mutation(
        "issueInfraction",
        lambda at, _: {
            "plate": "1234 ABC", "code": "t-12", "place": "Prado", "district": "Centro", "guard": "g-451",
            "occurredAt": "2027-01-04T11:00:00Z", "evidence": "photos/17",
        },
    ),
    "Mutation.contestInfraction": mutation(
        "contestInfraction", lambda at, _: {"infraction": INFRACTION, "statement": "Memorial 7"}
    ),
    "Mutation.resolveContest": mutation(
        "resolveContest",
        lambda at, _: {"infraction": INFRACTION, "outcome": "UPHELD", "resolution": "RA 9", "norm": "LM 15"},
    ),
    "Mutation.settleInfraction": mutation(
        "settleInfraction",
        lambda at, _: {"infraction": INFRACTION, "amount": "1", "paidOn": "2027-01-04", "reference": "R-1"},
    ),
    "Mutation.reverseInfractionSettlement": mutation(
        "reverseInfractionSettlement",
        lambda at, _: {"infraction": INFRACTION, "reference": "R-1", "reason": "Cheque"},
    ),
    "Mutation.sendToCollection": mutation(
        "sendToCollection", lambda at, _: {"infraction": INFRACTION, "document": "OC 3"}
    ),
    "Query.node line": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.line}),
    "Query.node turn": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.turn}),
    "Query.line": query("line(id: $id)", "$id: ID!", "id", lambda at: {"id": at.line}),
    "Query.turn": query("turn(id: $id)", "$id: ID!", "id", lambda at: {"id": at.turn}),
    "Query.servicePoint": query("servicePoint(code: $p)", "$p: String!", "id", lambda at: {"p": at.service_point}),
    "Query.node service-point": query(
        "node(id: $id)", "$id: ID!", "id", lambda at: {"id": f"service-point:{at.service_point}"}
    ),
    "Query.servicePoints": query("servicePoints(first: 1)", "", NODES, lambda at: {}),
    "Query.lines": query(
        'lines(servicePoint: $p, onOrAfter: "2027-01-04", first: 1)', "$p: String!", NODES,
        lambda at: {"p": at.service_point},
    ),
    "Query.turns": query("turns(person: $id, first: 1)", "$id: ID!", NODES, lambda at: {"id": at.person}),
    "Query.lineTurns": query("lineTurns(line: $id, first: 1)", "$id: ID!", NODES, lambda at: {"id": at.line}),
    "Query.lineFigures": query("lineFigures(line: $id)", "$id: ID!", "waiting", lambda at: {"id": at.line}),
    "Query.lineHistory": query(
        'lineHistory(servicePoint: $p, onOrAfter: "2027-01-04", to: "2027-01-05")', "$p: String!", "date",
        lambda at: {"p": at.service_point},
    ),
    "Mutation.registerServicePoint": mutation(
        "registerServicePoint", lambda at, _: {"servicePoint": at.service_point, "name": "Oficina"}
    ),
    "Mutation.openLine": mutation(
        "openLine",
        lambda at, _: {
            "servicePoint": at.service_point, "service": "taxes", "date": "2027-01-09", "counters": [1],
            "opensAt": "2027-01-09T11:00:00Z", "closesAt": "2027-01-09T20:00:00Z",
        },
    ),
    "Mutation.takeTurn": mutation(
        "takeTurn",
        lambda at, role: {
            "line": at.line, "person": at.person, "channel": "WEB" if role in ("citizen", "developer") else "COUNTER",
        },
    ),
    "Mutation.callNext": mutation("callNext", lambda at, _: {"line": at.line, "counter": 1}),
    "Mutation.callTurn": mutation("callTurn", lambda at, _: {"turn": at.turn, "counter": 2}),
    **{
        f"Mutation.{name}": mutation(name, lambda at, _: {"line": at.line, "counter": 1})
        for name in ("pauseCounter", "resumeCounter")
    },
    **{
        f"Mutation.{name}": mutation(name, lambda at, _: {"turn": at.turn})
        for name in ("recall", "startService", "finishService", "markAbsent", "requeueAbsent")
    },
    "Mutation.askNotice": mutation("askNotice", lambda at, _: {"turn": at.turn, "ahead": 1}),
    "Mutation.transferTurn": mutation(
        "transferTurn", lambda at, _: {"turn": at.turn, "to": at.line.replace("cadastre", "taxes")}
    ),
    "Mutation.leaveLine": mutation("leaveLine", lambda at, _: {"turn": at.turn}),
    "Mutation.closeLine": mutation("closeLine", lambda at, _: {"line": at.line}),
    "Subscription.line": lambda at, _: (f'subscription {{ line(id: "{at.line}") {{ position }} }}', {}),
    "Subscription.turn": lambda at, _: (f'subscription {{ turn(id: "{at.turn}") {{ position }} }}', {}),
    "Subscription.agenda": lambda at, _: (f'subscription {{ agenda(id: "{at.agenda}") {{ position }} }}', {}),
    "Subscription.appointment": lambda at, _: (
        f'subscription {{ appointment(id: "{at.appointment}") {{ position }} }}', {},
    ),
}  # fmt: skip
# What an actor may ask may be ruled out all the same, by what is so or what others did before them here.
RULED_OUT = {
    "Mutation.holdSlot": {"already_seen_here"},
    "Mutation.bookAppointment": {"already_seen_here", "slot_taken"},
    "Mutation.rescheduleAppointment": {"appointment_cancelled"},  # each role after the first moves what was moved
    "Mutation.checkIn": {"not_its_day"},
    "Mutation.markNoShow": {"not_begun_yet"},
    "Mutation.registerPerson": {"identity_taken"},
    "Mutation.registerOrganisation": {"nit_taken"},
    "Mutation.registerServicePoint": {"service_point_exists"},
    "Mutation.takeTurn": {"has_a_turn"},
    "Mutation.callNext": {"counter_busy"},
    "Mutation.callTurn": {"counter_busy", "turn_elsewhere"},
    "Mutation.transferTurn": {"has_a_turn", "turn_elsewhere"},
    **{
        f"Mutation.{name}": {"turn_elsewhere"}
        for name in ("recall", "startService", "finishService", "markAbsent", "requeueAbsent")
    },
    "Query.viewer": {"null"},  # of somebody without a token
    **{
        f"Query.{name}": {"null"}
        for name in ("webhook", "node webhook", "delivery", "node delivery", "room", "node room")
    },
    "Mutation.transferOwnership": {"transfer_too_early"},
    "Mutation.reverseSettlement": {"settlement_unknown"},
    "Query.holidays": {"null"},
    **{f"Mutation.{name}": {"amendment_unknown"} for name in ("approveAmendment", "rejectAmendment")},
    **{
        f"Query.{name}": {"null"}
        for name in (
            "minimumWage",
            "infractionTerms",
            "infractionCode",
            "node infraction-code",
            "infraction",
            "node infraction",
        )
    },
    "Mutation.issueInfraction": {"infraction_code_unknown"},
    **{
        f"Mutation.{name}": {"infraction_unknown"}
        for name in (
            "contestInfraction",
            "resolveContest",
            "settleInfraction",
            "reverseInfractionSettlement",
            "sendToCollection",
        )
    },
    "Mutation.removeWebhook": {"webhook_unknown"},
    "Mutation.resendDelivery": {"webhook_unknown"},
}


def roots() -> list[str]:
    kinds = (schema._schema.query_type, schema._schema.mutation_type, schema._schema.subscription_type)
    return [f"{kind.name}.{name}" for kind in kinds if kind for name in kind.fields]


@cache
def promised() -> dict[str, dict[str, str]]:
    """The table of the docs: the scope of each role for each field; "" for none."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in takewhile(bool, DOCS.read_text(encoding="utf-8").partition("| field ")[2].split("\n"))
    ]
    roles = rows[0]
    assert set(roles) <= set(ROLES)
    found = {}
    for name, *cells in rows[2:]:
        some = {} if cells[0].startswith(("everybody", "as ")) else dict(zip(roles, cells, strict=True))
        found[name.strip("`")] = dict.fromkeys(ROLES, "" if some else "unrestricted") | some
    del found["Query.node"]
    for kind, answered_by in NODE_QUERIES.items():
        found[f"Query.node {kind}"] = found[f"Query.{to_camel_case(answered_by.field.name)}"]
    return found


async def codes_of(client: Client, name: str, role: Role, *, own: bool) -> set[str]:
    """The codes of all errors of a request for the field; "null" if there was none and no data."""
    document, variables = SAMPLES[name](place(role, own=own), role)
    client.act_as(LOGINS[role])
    if name.startswith("Subscription"):
        token = client.http.headers.get("authorization", "").encode()
        actor = await client.services.identities.actor(token)
        context = Context(client.services, actor=actor, language="es", correlation="test")
        async for answer in Engine(schema).followed(Asked(document, variables, None), context):
            codes = {(error.extensions or {})["code"] for error in answer.errors}
            return codes if codes or answer.data else {"null"}
    answered = await client.ask(document, **variables)
    errors = [error["extensions"] for error in answered.get("errors", ())]
    payloads = list((answered.get("data") or {}).values())
    for payload in payloads:
        errors += payload.get("errors", []) if isinstance(payload, dict) else []
    return {error["code"] for error in errors} or ({"null"} if None in payloads else set())


# How the words of scopes begin that include the data of others.
OF_OTHERS = ("unrestricted", "only the identity number", "about other ")


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("name", SAMPLES)
async def test_each_field_follows_the_table(client: Client, name: str, core: Core) -> None:
    for role in ROLES:
        words = promised()[name][role]
        refusal = "login_required" if role == "anonymous" else "forbidden"
        # A role without a scope is refused whatever the arguments are.
        for own in (True, False) if words else (True,):
            allowed = words.startswith(OF_OTHERS) or (words and own)
            before = 0 if allowed else await core.log.head()
            codes = await codes_of(client, name, role, own=own)
            if allowed:
                assert codes <= RULED_OUT.get(name, set()), (role, own, codes)
            else:
                assert codes == {refusal}, (role, own, codes)
                assert await core.log.head() == before


def test_each_field_has_a_sample() -> None:
    assert {name.partition(" ")[0] for name in SAMPLES} == set(roots())
    assert sorted(promised()) == sorted(SAMPLES)


def test_the_docs_show_the_table() -> None:
    assert table(RULES) in DOCS.read_text(encoding="utf-8")


def test_the_table_has_each_field_and_no_other() -> None:
    assert sorted(RULES) == sorted(roots())


def is_link(field: GraphQLField) -> bool:
    """Whether the rule of another root query decides who sees the field, as tests/api/test_links.py has it."""
    resolver = field.extensions["strawberry-definition"].base_resolver
    return resolver is not None and resolver.wrapped_func.__module__ == links.__name__


@pytest.mark.parametrize("name", [name for name in roots() if RULES[name] is EVERYBODY])
def test_public_fields_reach_no_personal_data(name: str) -> None:
    root, field = name.split(".")
    kinds = schema._schema.type_map
    seen: set[str] = set()
    waiting: list[Any] = [get_named_type(kinds[root].fields[field].type)]  # type: ignore[attr-defined]
    while waiting:
        kind = waiting.pop()
        if kind.name in seen:
            continue
        seen.add(kind.name)
        if isinstance(kind, GraphQLInterfaceType | GraphQLUnionType):
            waiting += schema._schema.get_possible_types(kind)
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            waiting += [get_named_type(one.type) for one in kind.fields.values() if not is_link(one)]
    assert seen & PERSONAL == OWN.get(name, set())
