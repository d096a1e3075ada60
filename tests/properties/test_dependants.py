"""Families in any order: nobody acts for whom they may not, and no two people act for each other.

A machine declares, confirms, ends, erases and waits, and decides and folds as the committer does. Beside it stands
nothing but the list of what was accepted, from which it is told anew who may act for whom.
"""

from datetime import date, timedelta
from itertools import product
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.decider import Command, Event, StreamName, fold, fold_of, redacted
from domain.decision import decide
from domain.errors import Rejected
from domain.people import ErasePerson, PersonRegistered, stream
from domain.people.dependants import (
    ConfirmDependant,
    DeclareDependant,
    EndDependency,
    Guardian,
    Relation,
    acts_for,
)
from domain.people.dependants import stream as guardian_stream
from tests.examples import examples
from tests.office import ANA, EVA, LUIS, at, opaque, states_read

JUAN, NOBODY = opaque("juan"), opaque("nobody")
# Ana and Luis are of age; Eva comes of age within the story; Juan on no 29 February.
BORN = {ANA: date(1960, 1, 1), LUIS: date(1995, 7, 30), EVA: date(2009, 1, 20), JUAN: date(2012, 2, 29)}
ADULT_ON = {ANA: date(1978, 1, 1), LUIS: date(2013, 7, 30), EVA: date(2027, 1, 20), JUAN: date(2030, 3, 1)}

CLERK, OFFICER = opaque("clerk"), opaque("officer")

people = st.sampled_from([*BORN, *BORN, NOBODY])
logins = st.sampled_from([CLERK, CLERK, OFFICER])
relations: st.SearchStrategy[Relation] = st.sampled_from(["MINOR", "CARE"])
pauses = st.sampled_from([timedelta(hours=1), timedelta(days=2), timedelta(days=400)])


class Families(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = at("12:00")
        self.log: dict[StreamName, list[Event]] = {}
        self.states: dict[StreamName, Any] = {}
        self.accepted: list[Command] = []
        for person, born in BORN.items():
            said = {
                "identity": "4820193",
                "given_names": "x",
                "family_names": "x",
                "sex": "F",
                "phone": "",
                "email": "",
            }
            self.record(
                stream(person), PersonRegistered(person=person, identity_digest="a1" * 32, birth_date=born, **said)
            )

    def record(self, name: StreamName, event: Event) -> None:
        self.log.setdefault(name, []).append(event)
        self.states[name] = fold_of(name).evolve(self.state(name), event)

    def state(self, name: StreamName) -> Any:
        return self.states[name] if name in self.states else fold(name, ())

    def submit(self, command: Command) -> None:
        states = states_read(command, self.state)
        try:
            recorded = decide(command, states, self.now)
        except Rejected:
            return
        for name, event in recorded:
            self.record(name, event)
        again = decide(command, states_read(command, self.state), self.now)
        assert again == [], f"{command} said twice records {again}"
        self.accepted.append(command)

    @rule(guardian=people, dependant=people, relation=relations, by=logins)
    def declare(self, guardian: str, dependant: str, relation: Relation, by: str) -> None:
        self.submit(DeclareDependant(guardian=guardian, dependant=dependant, relation=relation, declared_by=by))

    @rule(guardian=people, dependant=people, relation=relations)
    def confirm(self, guardian: str, dependant: str, relation: Relation) -> None:
        self.submit(ConfirmDependant(guardian=guardian, dependant=dependant, relation=relation, confirmed_by=OFFICER))

    @rule(data=st.data())
    def confirm_what_was_declared(self, data: st.DataObject) -> None:
        declared = [command for command in self.accepted if isinstance(command, DeclareDependant)]
        if declared:
            said = data.draw(st.sampled_from(declared))
            self.confirm(said.guardian, said.dependant, said.relation)

    @rule(guardian=people, dependant=people)
    def end(self, guardian: str, dependant: str) -> None:
        self.submit(EndDependency(guardian=guardian, dependant=dependant))

    @rule(pause=pauses)
    def wait(self, pause: timedelta) -> None:
        self.now += pause

    @rule(person=st.sampled_from(list(BORN)), really=st.integers(0, 4))
    def erase(self, person: str, really: int) -> None:
        """Seldom; then the log reads as it does without the person's key, and states with secrets are folded anew."""
        if really:
            return
        self.submit(ErasePerson(person=person))
        for name, events in self.log.items():
            mine = [event.personal_fields and getattr(event, event.subject_field) == person for event in events]
            self.log[name] = [redacted(event) if of else event for event, of in zip(events, mine, strict=True)]
            if any(mine):
                self.states[name] = fold(name, self.log[name])

    def expected(self, guardian: str, dependant: str) -> bool:
        """Whether one may act for the other, told from what was accepted alone."""
        relation, confirmed, erased = "", False, False
        for command in self.accepted:
            match command:
                case ErasePerson() if command.person == dependant:
                    erased = True
                case DeclareDependant(guardian=g, dependant=d) if (g, d) == (guardian, dependant):
                    same = relation == command.relation
                    relation, confirmed = command.relation, confirmed and same
                case ConfirmDependant(guardian=g, dependant=d) if (g, d) == (guardian, dependant):
                    confirmed = True
                case EndDependency(guardian=g, dependant=d) if (g, d) == (guardian, dependant):
                    relation, confirmed = "", False
        if erased or (relation == "MINOR" and at("00:00", ADULT_ON[dependant]) <= self.now):
            return False
        return bool(relation) and confirmed

    @invariant()
    def they_act_for_whom_the_office_says(self) -> None:
        for guardian, dependant in product([*BORN, NOBODY], repeat=2):
            state: Guardian = self.state(guardian_stream(guardian))
            told = acts_for(state, self.state(stream(dependant)), self.now)
            assert told == self.expected(guardian, dependant), f"{guardian} for {dependant} at {self.now}"

    @invariant()
    def no_two_act_for_each_other_and_nobody_for_themselves(self) -> None:
        acting = {
            (guardian, dependant)
            for guardian, dependant in product([*BORN, NOBODY], repeat=2)
            if acts_for(self.state(guardian_stream(guardian)), self.state(stream(dependant)), self.now)
        }
        assert not acting & {(dependant, guardian) for guardian, dependant in acting}
        assert not {guardian for guardian, _ in acting if self.now < at("00:00", ADULT_ON[guardian])}

    @invariant()
    def folded_anew_it_is_the_same(self) -> None:
        for name, events in self.log.items():
            assert fold(name, events) == self.states[name]


TestFamilies = Families.TestCase
TestFamilies.settings = settings(
    max_examples=examples(60), stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
