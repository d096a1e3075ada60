"""Commands with required parties: each person and organisation must be known when the command is written."""

import asyncio
from collections.abc import Collection, Iterable
from typing import Any

import pytest

import infra.log.committer
from domain import people
from domain.appointments import patient as patients
from domain.decider import build, required_parties
from domain.errors import Rejected
from domain.people.representatives import RequestRepresentation
from infra.log.batch import Appended, Batch, Conflict
from infra.log.committer import CONFLICTS_BEFORE_LOCK_MAX, Committer
from infra.log.core import Core
from infra.log.log import Loaded
from infra.log.submission import Outcome
from tests.city import AGENDA, booking, key, opaque, open_agenda, organisation, person
from tests.towns import Town

pytestmark = pytest.mark.anyio

ANA = people.stream(opaque("Ana"))


async def book(committer: Committer, slot: int, name: str = "Ana", *, said: str = "") -> Outcome:
    """Book with the patient as a required person."""
    persons = {"patient": people.stream(opaque(name))}
    return await committer.submit(booking(slot, name), key(said or f"book {slot} {name}"), required_parties=persons)


async def register(committer: Committer, core: Core, name: str = "Ana", *, ci: str = "4820193") -> Outcome:
    return await committer.submit(person(name, core, ci=ci), key(f"register {name}"))


async def erase(committer: Committer, name: str = "Ana") -> Outcome:
    return await committer.submit(build(people.ErasePerson, person=opaque(name)), key(f"erase {name}"))


def booked(town: Town) -> int:
    ((count,),) = town.execute("SELECT count(*) FROM events WHERE topic = 'appointment_booked.v1'")
    return int(str(count))


class Questions:
    """The loads: for each its streams, and the streams loaded without personal data."""

    def __init__(self, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[set[str], set[str]]] = []
        load = core.log.load

        async def loading(streams: Iterable[str], *, redacted: Collection[str] = ()) -> dict[str, Loaded]:
            names = list(streams)
            self.asked.append((set(names), set(redacted)))
            return await load(names, redacted=redacted)

        monkeypatch.setattr(core.log, "load", loading)


@pytest.fixture
def questions(core: Core, monkeypatch: pytest.MonkeyPatch) -> Questions:
    return Questions(core, monkeypatch)


def before_the_first_append(core: Core, monkeypatch: pytest.MonkeyPatch, act: Any) -> list[Batch]:
    """Run `act` between the look-up and the first append. Returns a list that gets each appended batch."""
    append = core.log.append
    batches: list[Batch] = []

    async def append_late(batch: Batch) -> Appended | Conflict:
        batches.append(batch)
        if len(batches) == 1:
            await act()
        return await append(batch)

    monkeypatch.setattr(core.log, "append", append_late)
    return batches


async def test_an_unknown_person_is_refused_with_the_field_s_path(core: Core, town: Town) -> None:
    await open_agenda(core)
    for _ in range(2):
        with pytest.raises(Rejected, match="person_unknown") as refused:
            await book(core.committer, 1)
        assert refused.value.path == "patient"
    await register(core.committer, core)
    await book(core.committer, 1)
    assert booked(town) == 1


async def test_persons_are_loaded_once_with_the_other_streams_and_without_keys(
    core: Core, questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    await register(core.committer, core)
    questions.asked.clear()

    async def no_keys(subjects: set[str]) -> dict[str, bytes]:
        assert not subjects
        return {}

    monkeypatch.setattr(core.log, "_keys_of", no_keys)
    monkeypatch.setattr(core.log._writer, "_keys_of", no_keys)
    await book(core.committer, 1)
    assert questions.asked == [({patients.stream(opaque("Ana")), ANA}, {ANA})]
    with pytest.raises(Rejected, match="already_seen_here"):
        await book(core.committer, 2)
    assert len(questions.asked) == 1
    assert core.committer._decider.known_parties == {ANA: 1}


async def test_another_process_s_erasure_before_the_append_refuses_the_booking(
    core: Core, other_committer: Committer, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    await register(core.committer, core)
    batches = before_the_first_append(core, monkeypatch, lambda: erase(other_committer))
    with pytest.raises(Rejected, match="person_unknown"):
        await book(core.committer, 1)
    assert len(batches) == 2
    assert booked(town) == 0


async def test_another_process_s_registration_before_the_append_is_seen(
    core: Core, other_committer: Committer, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    before_the_first_append(core, monkeypatch, lambda: register(other_committer, core))
    await book(core.committer, 1)
    assert booked(town) == 1


async def test_a_known_person_erased_by_another_process_is_refused(
    core: Core, other_committer: Committer, town: Town
) -> None:
    await open_agenda(core)
    await register(core.committer, core)
    await book(core.committer, 1)
    await erase(other_committer)
    with pytest.raises(Rejected, match="person_unknown"):
        await book(core.committer, 2)
    assert booked(town) == 1
    assert core.committer._decider.known_parties == {}


async def test_an_erasure_applies_to_later_commands_in_its_batch(core: Core, town: Town) -> None:
    await open_agenda(core)
    await register(core.committer, core)
    for known in (False, True):  # in memory or not
        eva = f"Eva{known}"
        await register(core.committer, core, eva, ci=f"500000{known:d}")
        if known:
            stream = people.stream(opaque(eva))
            await core.committer.submit(
                booking(6, "Luis"), key("Eva is remembered"), required_parties={"patient": stream}
            )
            assert stream in core.committer._decider.known_parties
        before, _, after = await asyncio.gather(
            book(core.committer, 1 + known, eva, said=f"before {known}"),
            erase(core.committer, eva),
            book(core.committer, 3 + known, eva, said=f"after {known}"),
            return_exceptions=True,
        )
        assert isinstance(before, Outcome)
        assert isinstance(after, Rejected)
        assert after.code == "person_unknown"


async def test_an_erasure_in_flight_applies_to_the_next_batch(
    core: Core, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_agenda(core)
    await register(core.committer, core)
    await core.committer.submit(booking(6, "Eva"), key("Ana is remembered"), required_parties={"patient": ANA})
    batches = before_the_first_append(core, monkeypatch, lambda: asyncio.sleep(0.1))
    erasing = asyncio.ensure_future(erase(core.committer))
    await asyncio.sleep(0.05)
    with pytest.raises(Rejected, match="person_unknown"):
        await book(core.committer, 1)
    await erasing
    assert len(batches) == 2  # nothing was decided twice
    assert booked(town) == 1


async def test_only_a_repetition_is_accepted_after_an_erasure(core: Core, town: Town) -> None:
    await open_agenda(core)
    await register(core.committer, core)
    first = await book(core.committer, 1, said="b")
    await erase(core.committer)
    again = await book(core.committer, 1, said="b")
    assert (again.position, again.replayed) == (first.position, True)
    with pytest.raises(Rejected, match="person_unknown"):
        await book(core.committer, 2, said="b")
    with pytest.raises(Rejected, match="person_unknown"):
        await book(core.committer, 2, said="another key")
    assert booked(town) == 1


async def test_known_parties_are_bounded(core: Core, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.log.deciding, "KNOWN_PARTIES_MAX", 2)
    await open_agenda(core)
    names = [f"p{n}" for n in range(5)]
    for n, name in enumerate(names):
        await register(core.committer, core, name, ci=f"500000{n}")
    await asyncio.gather(*(book(core.committer, 1 + n, name) for n, name in enumerate(names)))
    assert len(core.committer._decider.known_parties) == 2
    assert booked(town) == 5


async def test_known_parties_are_not_used_under_the_lock(
    core: Core, other_committer: Committer, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process books in the agenda before each append until the lock is taken, and erases Ana."""
    await open_agenda(core)
    await register(core.committer, core)
    await core.committer.submit(booking(6, "Eva"), key("Ana is remembered"), required_parties={"patient": ANA})
    append = core.log.append
    tried: list[Batch] = []

    async def append_late(batch: Batch) -> Appended | Conflict:
        tried.append(batch)
        if len(tried) <= CONFLICTS_BEFORE_LOCK_MAX:
            await other_committer.submit(booking(1 + len(tried), f"rival {len(tried)}"), key(f"rival {len(tried)}"))
            core.committer._decider.known_parties[ANA] = 1  # as if another command had just looked her up
        if len(tried) == CONFLICTS_BEFORE_LOCK_MAX:
            await erase(other_committer)
        return await append(batch)

    monkeypatch.setattr(core.log, "append", append_late)
    with pytest.raises(Rejected, match="person_unknown"):
        await book(core.committer, 1)
    assert AGENDA in str(tried[-1].read)
    assert booked(town) == 1 + CONFLICTS_BEFORE_LOCK_MAX


async def ask(committer: Committer, said: str) -> Outcome:
    """Ask that Ana represent Illimani, which must be registered."""
    asked = build(
        RequestRepresentation,
        organisation=f"org-{opaque('Illimani')}",
        representative=opaque("Ana"),
        requested_by=opaque("clerk"),
    )
    return await committer.submit(asked, key(said), required_parties=required_parties(asked))


async def found(committer: Committer, core: Core) -> Outcome:
    return await committer.submit(organisation("Illimani", core), key("Illimani"))


async def test_a_required_organisation_is_known_from_its_registration(
    core: Core, other_committer: Committer, town: Town
) -> None:
    await register(core.committer, core)
    for _ in range(2):
        with pytest.raises(Rejected, match="organisation_unknown") as refused:
            await ask(core.committer, "early")
        assert refused.value.path == "organisation"
    await found(other_committer, core)
    await ask(core.committer, "ask")
    stream = f"organisation/org-{opaque('Illimani')}"
    assert core.committer._decider.known_parties == {stream: 1}


async def test_an_organisation_registered_in_the_same_batch_is_known(core: Core, town: Town) -> None:
    await register(core.committer, core)
    early, _, late = await asyncio.gather(
        ask(core.committer, "early"),
        found(core.committer, core),
        ask(core.committer, "late"),
        return_exceptions=True,
    )
    assert isinstance(early, Rejected)
    assert early.code == "organisation_unknown"
    assert isinstance(late, Outcome)


async def test_a_required_organisation_is_loaded_without_its_key(core: Core, questions: Questions, town: Town) -> None:
    await register(core.committer, core)
    await found(core.committer, core)
    questions.asked.clear()
    await ask(core.committer, "ask")
    ((_, redacted),) = questions.asked
    assert redacted == {f"organisation/org-{opaque('Illimani')}"}
