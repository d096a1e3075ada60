"""Representatives in any order: only those act whom an officer confirmed, and each NIT has one organisation.

A machine registers, corrects, requests, confirms, rejects, ends, erases and waits, and decides and folds as the
committer does. Beside it is only the list of accepted commands with their times, from which the test derives who acts.
"""

from datetime import date, datetime, timedelta
from itertools import product
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.calendar import local_date
from domain.decider import Command, Event, StreamName, fold, fold_of, redacted, required_parties
from domain.decision import decide
from domain.errors import Rejected
from domain.people import ErasePerson, PersonRegistered
from domain.people import stream as person_stream
from domain.people.organisation import CorrectOrganisation, RegisterOrganisation, nit_stream
from domain.people.organisation import stream as organisation_stream
from domain.people.representatives import (
    ConfirmRepresentation,
    EndRepresentation,
    RejectRepresentation,
    RequestRepresentation,
    acts_for,
    stream,
)
from tests.examples import examples
from tests.office import ANA, EVA, ILLIMANI, LUIS, at, opaque, states_read

SAJAMA, NOBODY = f"org-{opaque('sajama')}", opaque("nobody")
BORN = {ANA: date(1960, 1, 1), LUIS: date(1995, 7, 30), EVA: date(2009, 1, 20)}  # Eva comes of age within the story
CLERK, OFFICER = opaque("clerk"), opaque("officer")

people = st.sampled_from([*BORN, *BORN, NOBODY])
organisations = st.sampled_from([ILLIMANI, SAJAMA])
logins = st.sampled_from([CLERK, CLERK, OFFICER])
nits = st.sampled_from(["1000001", "1000002", "1000003"])
days = st.none() | st.integers(-1, 500)
pauses = st.sampled_from([timedelta(hours=1), timedelta(days=2), timedelta(days=400)])


class Offices(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = at("12:00")
        self.log: dict[StreamName, list[Event]] = {}
        self.states: dict[StreamName, Any] = {}
        self.accepted: list[tuple[Command, datetime]] = []
        texts = ("identity", "given_names", "family_names", "sex", "phone", "email")
        for person, born in BORN.items():
            said = dict.fromkeys(texts, "")
            self.record(
                person_stream(person),
                PersonRegistered(person=person, identity_digest="a1" * 32, birth_date=born, **said),
            )

    def record(self, name: StreamName, event: Event) -> None:
        self.log.setdefault(name, []).append(event)
        self.states[name] = fold_of(name).evolve(self.state(name), event)

    def state(self, name: StreamName) -> Any:
        return self.states[name] if name in self.states else fold(name, ())

    def submit(self, command: Command) -> bool:
        """Whether the command was accepted. Repeating it at once must change nothing."""
        if not all(self.state(name).known for name in required_parties(command).values()):
            return False
        try:
            recorded = decide(command, states_read(command, self.state), self.now)
        except Rejected:
            return False
        for name, event in recorded:
            self.record(name, event)
        again = decide(command, states_read(command, self.state), self.now)
        assert again == [], f"{command} said twice records {again}"
        self.accepted.append((command, self.now))
        return True

    @rule(organisation=organisations, nit=nits)
    def register(self, organisation: str, nit: str) -> None:
        self.submit(
            RegisterOrganisation(organisation=organisation, nit=nit, nit_digest=nit.rjust(64, "0"), name="Illimani")
        )

    @rule(organisation=organisations, nit=nits)
    def correct(self, organisation: str, nit: str) -> None:
        self.submit(CorrectOrganisation(organisation=organisation, nit=nit, nit_digest=nit.rjust(64, "0")))

    @rule(organisation=organisations, who=people, by=logins)
    def request(self, organisation: str, who: str, by: str) -> None:
        self.submit(RequestRepresentation(organisation=organisation, representative=who, requested_by=by))

    @rule(organisation=organisations, who=people, days=days)
    def confirm(self, organisation: str, who: str, days: int | None) -> None:
        last_day = None if days is None else local_date(self.now) + timedelta(days=days)
        self.submit(
            ConfirmRepresentation(
                organisation=organisation, representative=who, confirmed_by=OFFICER, last_day=last_day
            )
        )

    @rule(organisation=organisations, who=people)
    def reject(self, organisation: str, who: str) -> None:
        self.submit(RejectRepresentation(organisation=organisation, representative=who))

    @rule(organisation=organisations, who=people)
    def end(self, organisation: str, who: str) -> None:
        self.submit(EndRepresentation(organisation=organisation, representative=who))

    @rule(pause=pauses)
    def wait(self, pause: timedelta) -> None:
        self.now += pause

    @rule(person=st.sampled_from(list(BORN)), really=st.integers(0, 4))
    def erase(self, person: str, really: int) -> None:
        """Seldom; then the log reads as it does without the person's key."""
        if really or not self.submit(ErasePerson(person=person)):
            return
        name = person_stream(person)
        self.log[name] = [redacted(event) for event in self.log[name]]
        self.states[name] = fold(name, self.log[name])

    def expected(self, organisation: str, who: str) -> bool:
        """Whether the person may act for the organisation, derived from the accepted commands alone."""
        acting, last_day = False, None
        for command, when in self.accepted:
            match command:
                case ConfirmRepresentation(organisation=o, representative=r) if (o, r) == (organisation, who):
                    assert any(
                        isinstance(asked, RequestRepresentation)
                        and (asked.organisation, asked.representative) == (o, r)
                        and at_once <= when
                        for asked, at_once in self.accepted
                    )
                    acting, last_day = True, command.last_day
                case RejectRepresentation(organisation=o, representative=r) if (o, r) == (organisation, who):
                    acting = False
                case EndRepresentation(organisation=o, representative=r) if (o, r) == (organisation, who):
                    acting = False
        return acting and (last_day is None or local_date(self.now) <= last_day)

    @invariant()
    def they_act_for_whom_the_officers_confirmed(self) -> None:
        for organisation, who in product([ILLIMANI, SAJAMA], [*BORN, NOBODY]):
            told = acts_for(self.state(stream(who)), organisation, self.now)
            assert told == self.expected(organisation, who), f"{who} for {organisation} at {self.now}"

    @invariant()
    def who_acts_is_listed_once_at_a_registered_organisation(self) -> None:
        for organisation in (ILLIMANI, SAJAMA):
            state = self.state(organisation_stream(organisation))
            assert len(state.representatives) == len(set(state.representatives))
            acting = {who for who in BORN if acts_for(self.state(stream(who)), organisation, self.now)}
            assert acting <= set(state.representatives)
            assert state.known or not state.representatives

    @invariant()
    def each_nit_has_one_organisation(self) -> None:
        for organisation in (ILLIMANI, SAJAMA):
            if known := self.state(organisation_stream(organisation)).registered:
                assert self.state(nit_stream(known.nit_digest)).organisation == organisation

    @invariant()
    def folded_anew_it_is_the_same(self) -> None:
        for name, events in self.log.items():
            assert fold(name, events) == self.states[name]


TestOffices = Offices.TestCase
TestOffices.settings = settings(
    max_examples=examples(60), stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
