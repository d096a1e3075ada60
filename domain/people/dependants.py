"""A guardian's dependants: minors and persons in care for whom the guardian acts, and until when.

Access control calls `acts_for`. Acting for others is not transitive: nobody acts for a dependant's dependants.
"""

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec.structs import replace

from domain.calendar import local_date
from domain.decider import Command, Decided, Event, Personal, State, Stream, Value, evolves, names_stream_of
from domain.decision import decides
from domain.errors import PersonUnknown, Rejected
from domain.identifiers import OPAQUE, LoginId, SubjectId
from domain.people import person as people
from domain.people.person import Person

OF_AGE_YEARS = 18
LIVE_DEPENDANTS_PER_GUARDIAN_MAX = 20
DECLARATIONS_PER_GUARDIAN_MAX = 200  # ended ones count: the stream is for life and must stay short

Relation = Literal["MINOR", "CARE"]
EndReason = Literal[
    "GUARDIAN", "DEPENDANT", "AUTHORITY", "MISTAKE", "OTHER"
]  # no free text: it would outlive an erasure


class DependantDeclared(Event, name="dependant_declared.v1"):
    guardian: SubjectId
    dependant: SubjectId
    relation: str
    declared_by: LoginId


class DependantConfirmed(Event, name="dependant_confirmed.v1", subject="dependant"):
    """`until` is a minor's 18th birthday, personal data of the dependant and not of the guardian; otherwise None."""

    guardian: SubjectId
    dependant: SubjectId
    until: Personal[date]


class DependencyEnded(Event, name="dependency_ended.v1"):
    guardian: SubjectId
    dependant: SubjectId
    reason: str


class Dependency(Value):
    """The last declaration about one dependant. Whether it is over depends on the time too: see `is_over`."""

    relation: str
    declared_by: LoginId
    until: date | None = None
    confirmed: bool = False
    ended: bool = False


class Guardian(State):
    """Dependants in the order in which they were first declared, including those that are over."""

    dependants: dict[SubjectId, Dependency] = {}
    declarations: int = 0


@names_stream_of(Guardian)
def stream(guardian: SubjectId) -> str:
    return f"guardian/{guardian}"


@evolves("guardian", Guardian)
def evolve(guardian: Guardian, event: Event) -> Guardian:
    match event:
        case DependantDeclared():
            dependency = Dependency(relation=event.relation, declared_by=event.declared_by)
            guardian.dependants[event.dependant] = dependency
            guardian.declarations += 1
        case DependantConfirmed():
            if known := guardian.dependants.get(event.dependant):
                guardian.dependants[event.dependant] = replace(known, confirmed=True, until=event.until)
        case DependencyEnded():
            if known := guardian.dependants.get(event.dependant):
                guardian.dependants[event.dependant] = replace(known, ended=True)
    return guardian


def is_over(dependency: Dependency, now: datetime) -> bool:
    """Whether the dependency was ended, or ended by age: on a minor's 18th birthday, or once that date is erased.

    A dependency that is not confirmed does not end by age, because no officer has seen the birth date.
    """
    if dependency.ended or not dependency.confirmed or dependency.relation == "CARE":
        return dependency.ended
    return dependency.until is None or local_date(now) >= dependency.until


def acts_for(guardian: Guardian, dependant: Person, now: datetime) -> bool:
    """Whether this guardian may act for the dependant now: declared, confirmed, not over, and the dependant not erased.

    A minor must also be one by the present birth date, which may have been corrected since the confirmation.
    """
    if not dependant.registered or not dependant.known:
        return False
    dependency = guardian.dependants.get(dependant.registered.person)
    if dependency is None or not dependency.confirmed or is_over(dependency, now):
        return False
    born = dependant.registered.birth_date
    return dependency.relation == "CARE" or (born is not None and local_date(now) < birthday(born, OF_AGE_YEARS))


def birthday(born: date, age_years: int) -> date:
    """The first day on which somebody is that old: for 29 February, 1 March in a year without that day."""
    try:
        return born.replace(year=born.year + age_years)
    except ValueError:
        return date(born.year + age_years, 3, 1)


def _birth_date(person: Person, path: str) -> date:
    """Raise Rejected if the person is unknown or erased. An erasure in progress may already have removed the date."""
    if not person.registered or not person.known or person.registered.birth_date is None:
        raise PersonUnknown(path=path)
    return person.registered.birth_date


def _all_of_both(
    command: "DeclareDependant | ConfirmDependant",
) -> tuple[Stream[Guardian], Stream[Guardian], Stream[Person], Stream[Person]]:
    return (
        stream(command.guardian),
        stream(command.dependant),
        people.stream(command.guardian),
        people.stream(command.dependant),
    )


class GuardianOfOneself(
    Rejected, es="Una persona no puede ser dependiente de sí misma.", en="Nobody can be their own dependant."
): ...


class GuardianUnderAge(
    Rejected,
    es="Quien tiene a otra persona a su cargo debe haber cumplido {limit} años.",
    en="A guardian must be at least {limit} years old.",
):
    limit: int


class DeclareDependant(Command):
    """Declare that a guardian acts for another person. The declaration counts once an officer has confirmed it.

    The answer reveals only that the dependant exists: the caller is not yet known to act for them.
    """

    guardian: Annotated[SubjectId, OPAQUE]
    dependant: Annotated[SubjectId, OPAQUE]
    relation: Relation
    declared_by: Annotated[LoginId, OPAQUE]


@decides(DeclareDependant, reads=_all_of_both)
def declare_dependant(
    command: DeclareDependant, guardian: Guardian, guarded: Guardian, person: Person, other: Person, *, now: datetime
) -> Decided:
    if command.guardian == command.dependant:
        raise GuardianOfOneself(path="dependant")
    adult_on = birthday(_birth_date(person, "guardian"), OF_AGE_YEARS)
    _birth_date(other, "dependant")
    known = guardian.dependants.get(command.dependant)
    if known and not is_over(known, now):
        _refuse_another_relation(known, command.relation)
        return
    if local_date(now) < adult_on:
        raise GuardianUnderAge(path="guardian", limit=OF_AGE_YEARS)
    _refuse_circle(guarded, command.guardian, now)
    _refuse_another(guardian, now)
    yield (
        stream(command.guardian),
        DependantDeclared(
            guardian=command.guardian,
            dependant=command.dependant,
            relation=command.relation,
            declared_by=command.declared_by,
        ),
    )


class DeclaredOtherwise(
    Rejected,
    es="Esta persona ya está declarada con otra relación: primero termine esa.",
    en="This person is already declared with another relation; end that one first.",
): ...


def _refuse_another_relation(known: Dependency, relation: Relation) -> None:
    """Raise Rejected if another relation was declared."""
    if known.relation != relation:
        raise DeclaredOtherwise(path="relation")


class GuardianCircle(
    Rejected,
    es="Dos personas no pueden estar cada una a cargo de la otra.",
    en="Two people can't be each other's guardians.",
): ...


def _refuse_circle(guarded: Guardian, guardian: SubjectId, now: datetime) -> None:
    """Raise Rejected if the dependant is the guardian's own confirmed guardian: anybody can make a declaration."""
    back = guarded.dependants.get(guardian)
    if back and back.confirmed and not is_over(back, now):
        raise GuardianCircle(path="dependant")


class TooManyDependants(
    Rejected,
    es="Una persona puede declarar {limit} dependientes como máximo.",
    en="A person can declare at most {limit} dependants.",
):
    limit: int


def _refuse_another(guardian: Guardian, now: datetime) -> None:
    """Raise Rejected if this guardian has reached the limit of live dependants or of declarations."""
    live = sum(not is_over(dependency, now) for dependency in guardian.dependants.values())
    for count, limit in (
        (live, LIVE_DEPENDANTS_PER_GUARDIAN_MAX),
        (guardian.declarations, DECLARATIONS_PER_GUARDIAN_MAX),
    ):
        if count >= limit:
            raise TooManyDependants(path="guardian", limit=limit)


class DependencyUnknown(
    Rejected,
    es="Esta persona no está declarada como dependiente.",
    en="This person was not declared as a dependant.",
): ...


class DependencyOver(
    Rejected,
    es="Esa dependencia ya terminó: si hace falta, declárela de nuevo.",
    en="That dependency is over; declare it again if it is needed.",
): ...


class DeclaredByYourself(
    Rejected,
    es="La declaración se hizo con su misma cuenta: debe confirmarla otra persona.",
    en="The declaration was made with this same login: somebody else must confirm it.",
): ...


class NotAMinor(
    Rejected,
    es="Esta persona ya cumplió {limit} años: no es menor de edad.",
    en="This person is already {limit} years old and not a minor.",
):
    limit: int


class ConfirmDependant(Command):
    """An officer has seen the papers for this relation. Somebody else must have declared it."""

    guardian: Annotated[SubjectId, OPAQUE]
    dependant: Annotated[SubjectId, OPAQUE]
    relation: Relation
    confirmed_by: Annotated[LoginId, OPAQUE]


@decides(ConfirmDependant, reads=_all_of_both)
def confirm_dependant(
    command: ConfirmDependant, guardian: Guardian, guarded: Guardian, person: Person, other: Person, *, now: datetime
) -> Decided:
    known = guardian.dependants.get(command.dependant)
    if known is None:
        raise DependencyUnknown(path="dependant")
    _birth_date(person, "guardian")
    of_age_on = birthday(_birth_date(other, "dependant"), OF_AGE_YEARS)
    if is_over(known, now):
        raise DependencyOver(path="dependant")
    _refuse_another_relation(known, command.relation)
    if known.confirmed:
        return
    if command.confirmed_by == known.declared_by:
        raise DeclaredByYourself()
    if command.relation == "MINOR" and local_date(now) >= of_age_on:
        raise NotAMinor(path="dependant", limit=OF_AGE_YEARS)
    _refuse_circle(guarded, command.guardian, now)
    until = of_age_on if command.relation == "MINOR" else None
    confirmed = DependantConfirmed(guardian=command.guardian, dependant=command.dependant, until=until)
    yield stream(command.guardian), confirmed


class EndDependency(Command):
    """End a dependency: the guardian no longer acts for the dependant, until it is declared and confirmed again."""

    guardian: Annotated[SubjectId, OPAQUE]
    dependant: Annotated[SubjectId, OPAQUE]
    reason: EndReason = "OTHER"


@decides(EndDependency, reads=lambda c: (stream(c.guardian),))
def end_dependency(command: EndDependency, guardian: Guardian, *, now: datetime) -> Decided:
    known = guardian.dependants.get(command.dependant)
    if known is None:
        raise DependencyUnknown(path="dependant")
    if not is_over(known, now):
        ended = DependencyEnded(guardian=command.guardian, dependant=command.dependant, reason=command.reason)
        yield stream(command.guardian), ended
