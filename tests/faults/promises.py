"""What callers of a committer were told, beside what the log holds."""

import asyncio
from collections import Counter

from domain.appointments.booking import BookAppointment
from domain.errors import Rejected
from infra.log.core import Core
from infra.log.submission import Outcome
from tests.city import booking, key
from tests.faults.truth import check_laws, read_log, written_by
from tests.towns import Town

Answers = dict[str, Outcome | BaseException]


def codes(answers: Answers) -> Counter[str]:
    """How often each kind of answer came."""
    return Counter(
        answer.code if isinstance(answer, Rejected) else type(answer).__name__ for answer in answers.values()
    )


async def ask(core: Core, wishes: dict[str, BookAppointment]) -> Answers:
    """All at once; the answers by key."""
    answers = await asyncio.gather(
        *(core.committer.submit(wish, key(name)) for name, wish in wishes.items()), return_exceptions=True
    )
    return dict(zip(wishes, answers, strict=True))


def check_promises(town: Town, answers: Answers) -> None:
    """Each acknowledged booking is in the log, once, where its answer says; of a refused one nothing is there."""
    rows = read_log(town.owner, schema=town.schema)
    check_laws(rows)
    written = written_by(rows)
    for name, answer in answers.items():
        found = [row.position for row in written.get(town.secret.key_name("test", name), [])]
        if isinstance(answer, Outcome):
            assert found == [answer.position - 1, answer.position], name
        elif isinstance(answer, Rejected) and answer.code != "unavailable":
            assert not found, (name, answer)
        else:
            assert isinstance(answer, Rejected), answer
            assert len(found) in (0, 2)


async def check_repetitions(core: Core, wishes: dict[str, BookAppointment], answers: Answers) -> None:
    """The same key again gives the same outcome again, and settles what was left open."""
    again = await ask(core, wishes)
    for name, answer in answers.items():
        repeated = again[name]
        if isinstance(answer, Outcome):
            assert isinstance(repeated, Outcome)
            assert (repeated.position, repeated.replayed) == (answer.position, True)
        elif isinstance(answer, Rejected) and answer.code == "unavailable":
            assert isinstance(repeated, Outcome) or (
                isinstance(repeated, Rejected) and repeated.code == "slot_taken"
            ), repeated


def one_each(number: int, *, first: int = 1, name: str = "w") -> dict[str, BookAppointment]:
    return {f"{name}{n}": booking(n, f"patient {name}{n}") for n in range(first, first + number)}
