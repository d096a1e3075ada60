"""A taxable object: a property, a vehicle or an economic activity; and who owned it when."""

from datetime import date, datetime
from typing import Annotated

from domain.calendar import local_date
from domain.decider import MUST_BE_REGISTERED, Command, Decided, Event, State, Stream, Value, evolves, names_stream_of
from domain.decision import decides
from domain.errors import Rejected
from domain.identifiers import (
    NAME,
    PARTY,
    TAXABLE_OBJECT_CODE,
    WRITTEN,
    ObjectKind,
    PartyId,
    TaxableObjectId,
    parse_cadastral_code,
    parse_number,
    taxable_object_id,
)


class TaxableObjectRegistered(Event, name="taxable_object_registered.v1"):
    """`number` is the plate, the property number or the licence number; only a property has a cadastral code."""

    object: TaxableObjectId
    kind: str
    number: str
    owner: PartyId
    since: date
    cadastral_code: str | None = None


class OwnershipTransferred(Event, name="ownership_transferred.v1"):
    """From the day `since` on, the object has another owner. `deed` names the paper."""

    object: TaxableObjectId
    owner: PartyId
    since: date
    deed: str


class Ownership(Value):
    owner: PartyId
    since: date


class TaxableObject(State):
    """`owners` in the order of their days."""

    registered: TaxableObjectRegistered | None = None
    owners: list[Ownership] = []


@names_stream_of(TaxableObject)
def stream(code: TaxableObjectId) -> str:
    return f"taxable_object/{code}"


@evolves("taxable_object", TaxableObject)
def evolve(state: TaxableObject, event: Event) -> TaxableObject:
    match event:
        case TaxableObjectRegistered():
            state.registered = event
            state.owners = [Ownership(owner=event.owner, since=event.since)]
        case OwnershipTransferred():
            state.owners.append(Ownership(owner=event.owner, since=event.since))
    return state


class CadastralCodeTaken(Event, name="cadastral_code_taken.v1"):
    object: TaxableObjectId


class CadastralCode(State):
    """The object that has this code; None if none has."""

    object: TaxableObjectId | None = None


@names_stream_of(CadastralCode)
def cadastral_stream(code: str) -> str:
    return f"cadastral_code/{code}"


@evolves("cadastral_code", CadastralCode)
def evolve_cadastral_code(state: CadastralCode, event: Event) -> CadastralCode:
    match event:
        case CadastralCodeTaken():
            state.object = event.object
    return state


def owner_on(state: TaxableObject, day: date) -> PartyId | None:
    """Who owned it on a day; None if that is not known: before it was registered."""
    return next((one.owner for one in reversed(state.owners) if one.since <= day), None)


def taxpayer(state: TaxableObject, year: int) -> PartyId | None:
    """Who owes the tax of a fiscal year: the owner on 31 December, or the first known one for earlier years."""
    return owner_on(state, date(year, 12, 31)) or (state.owners[0].owner if state.owners else None)


class TaxableObjectExists(
    Rejected,
    es="El objeto {object} ya está registrado con otros datos.",
    en="Object {object} is already registered with other details.",
):
    object: TaxableObjectId


class CadastralCodeInUse(
    Rejected,
    es="El código catastral {cadastral_code} es del objeto {object}.",
    en="Cadastral code {cadastral_code} is that of object {object}.",
):
    cadastral_code: str
    object: TaxableObjectId


class OnlyProperties(
    Rejected,
    es="Solo un inmueble tiene código catastral.",
    en="Only a property has a cadastral code.",
): ...


class TaxableObjectUnknown(
    Rejected,
    es="No existe el objeto tributario {object}.",
    en="There is no taxable object {object}.",
):
    object: TaxableObjectId


class TransferTooEarly(
    Rejected,
    es="El propietario actual lo es desde el {since}: la transferencia debe ser posterior.",
    en="The current owner has owned it since {since}; the transfer must be on a later day.",
):
    since: date


class InTheFuture(
    Rejected,
    es="La fecha {day} es posterior a hoy.",
    en="{day} is in the future.",
):
    day: date


class RegisterTaxableObject(Command):
    """`number` and `cadastral_code` in any spelling, see `parse_number`. Raises InvalidInput for malformed ones."""

    kind: ObjectKind
    number: Annotated[str, WRITTEN]
    owner: Annotated[PartyId, PARTY, MUST_BE_REGISTERED]
    since: date
    cadastral_code: Annotated[str, WRITTEN] | None = None

    def __post_init__(self) -> None:
        parse_number(self.kind, self.number)
        if self.cadastral_code is not None:
            parse_cadastral_code(self.cadastral_code)

    @property
    def object(self) -> TaxableObjectId:
        """Its code."""
        return taxable_object_id(self.kind, parse_number(self.kind, self.number))


def _cadastral(command: RegisterTaxableObject) -> tuple[Stream[CadastralCode] | None]:
    code = command.cadastral_code
    return (None if code is None else cadastral_stream(parse_cadastral_code(code)),)


@decides(RegisterTaxableObject, reads=lambda c: (stream(c.object),), then=lambda c, _: _cadastral(c))
def register_taxable_object(
    command: RegisterTaxableObject, state: TaxableObject, cadastral: CadastralCode | None = None, *, now: datetime
) -> Decided:
    if command.cadastral_code is not None and command.kind != "PROPERTY":
        raise OnlyProperties(path="cadastral_code")
    if command.since > local_date(now):
        raise InTheFuture(path="since", day=command.since)
    code = None if command.cadastral_code is None else parse_cadastral_code(command.cadastral_code)
    registered = TaxableObjectRegistered(
        object=command.object,
        kind=command.kind,
        number=parse_number(command.kind, command.number),
        owner=command.owner,
        since=command.since,
        cadastral_code=code,
    )
    if state.registered == registered:
        return
    if state.registered:
        raise TaxableObjectExists(path="number", object=command.object)
    if code and cadastral and cadastral.object:
        raise CadastralCodeInUse(path="cadastral_code", cadastral_code=code, object=cadastral.object)
    yield stream(command.object), registered
    if code:
        yield cadastral_stream(code), CadastralCodeTaken(object=command.object)


class TransferOwnership(Command):
    object: Annotated[TaxableObjectId, TAXABLE_OBJECT_CODE]
    owner: Annotated[PartyId, PARTY, MUST_BE_REGISTERED]
    since: date
    deed: Annotated[str, NAME]


@decides(TransferOwnership, reads=lambda c: (stream(c.object),))
def transfer_ownership(command: TransferOwnership, state: TaxableObject, *, now: datetime) -> Decided:
    if state.registered is None:
        raise TaxableObjectUnknown(path="object", object=command.object)
    present = state.owners[-1]
    if present == Ownership(owner=command.owner, since=command.since):
        return
    if command.since > local_date(now):
        raise InTheFuture(path="since", day=command.since)
    if command.since <= present.since:
        raise TransferTooEarly(path="since", since=present.since)
    transferred = OwnershipTransferred(
        object=command.object, owner=command.owner, since=command.since, deed=command.deed
    )
    yield stream(command.object), transferred
