"""The words of waiting in line, for the language in tests/office.py.

    given(line_opened()).after(take("ana"), call(1)).when(call(2)).rejected("nobody_waits", path="line")

LINE and OTHER are open from NOW on. A turn is called as its person is: "ana" has the turn "ana" of ANA.
"""

from datetime import datetime
from typing import Any

from domain.decider import Event, Recorded
from domain.identifiers import LineId, TurnId, line_id
from domain.queues.calling import CallNext, CallTurn, FinishService, MarkAbsent, Outcome, Recall, StartService
from domain.queues.line import Line, LineOpened, stream
from domain.queues.opening import CloseLine, PauseCounter, ResumeCounter
from domain.queues.order import calls_to_come
from domain.queues.policy import Policy
from domain.queues.turns import (
    AskNotice,
    Channel,
    GiveNotice,
    LeaveLine,
    Reason,
    RequeueAbsent,
    TakeTurn,
    TransferTurn,
)
from tests.office import DAY, NOW, Answer, Office, at, opaque

SOPOCACHI = "sopocachi"
LINE = line_id(SOPOCACHI, "cadastre", DAY)
OTHER = line_id(SOPOCACHI, "titles", DAY)
OPENS, LAST_TURN, CLOSES = NOW, at("12:00"), at("12:30")


def line_opened(
    line: LineId = LINE,
    *,
    counters: int = 2,
    opens_at: datetime = OPENS,
    last_turn_at: datetime = LAST_TURN,
    closes_at: datetime = CLOSES,
    hospital: str | None = None,
    **policy: Any,
) -> Recorded:
    """A line with so many counters; what is said of the policy, and else as it is."""
    opened = LineOpened(
        line=line,
        counters=list(range(1, counters + 1)),
        policy=Policy(**policy),
        opens_at=opens_at,
        last_turn_at=last_turn_at,
        closes_at=closes_at,
        hospital=hospital,
    )
    return stream(line), opened


def turn(name: str, line: LineId = LINE) -> TurnId:
    return f"{line}/{opaque(name)}"


def take(name: str, line: LineId = LINE, *, reason: Reason | None = None, channel: Channel = "WEB") -> TakeTurn:
    """Somebody who is known. Nobody who is claims an age, see tests/domain/test_arrivals.py."""
    return TakeTurn(line=line, turn=turn(name, line), channel=channel, person=opaque(name), reason=reason)


def take_paper(name: str, line: LineId = LINE, *, reason: Reason | None = None, channel: Channel = "KIOSK") -> TakeTurn:
    """As nobody in particular."""
    return TakeTurn(line=line, turn=turn(name, line), channel=channel, reason=reason)


def call(counter: int = 1, line: LineId = LINE) -> CallNext:
    return CallNext(line=line, counter=counter)


def call_turn(name: str, counter: int = 1, line: LineId = LINE) -> CallTurn:
    return CallTurn(turn=turn(name, line), counter=counter)


def recall(name: str, line: LineId = LINE) -> Recall:
    return Recall(turn=turn(name, line))


def start(name: str, line: LineId = LINE) -> StartService:
    return StartService(turn=turn(name, line))


def finish(name: str, line: LineId = LINE, *, outcome: Outcome = "DONE") -> FinishService:
    return FinishService(turn=turn(name, line), outcome=outcome)


def mark_absent(name: str, line: LineId = LINE) -> MarkAbsent:
    return MarkAbsent(turn=turn(name, line))


def requeue(name: str, line: LineId = LINE) -> RequeueAbsent:
    return RequeueAbsent(turn=turn(name, line))


def leave(name: str, line: LineId = LINE) -> LeaveLine:
    return LeaveLine(turn=turn(name, line))


def transfer(name: str, to: LineId = OTHER, *, line: LineId = LINE) -> TransferTurn:
    """It has the same name there."""
    return TransferTurn(turn=turn(name, line), to=to, moved_to=turn(name, to))


def ask_notice(name: str, line: LineId = LINE, *, ahead: int | None = None, minutes: int | None = None) -> AskNotice:
    return AskNotice(turn=turn(name, line), ahead=ahead, minutes=minutes)


def give_notice(name: str, line: LineId = LINE) -> GiveNotice:
    return GiveNotice(turn=turn(name, line))


def pause(counter: int = 1, line: LineId = LINE) -> PauseCounter:
    return PauseCounter(line=line, counter=counter)


def resume(counter: int = 1, line: LineId = LINE) -> ResumeCounter:
    return ResumeCounter(line=line, counter=counter)


def close(line: LineId = LINE) -> CloseLine:
    return CloseLine(line=line)


def line_state(office: Office, line: LineId = LINE) -> Line:
    state: Line = office.state(stream(line))
    return state


def waiting(office: Office, line: LineId = LINE) -> list[str]:
    """Who waits, by the numbers that are shown, in the order in which they will be called."""
    state = line_state(office, line)
    return [state.turns[waits].shown for waits in calls_to_come(state)]


def turn_state(office: Office, name: str, line: LineId = LINE) -> str:
    return line_state(office, line).turns[turn(name, line)].state


def recorded(answer: Answer, kind: type[Event]) -> list[Any]:
    """The events of one kind that were recorded, with no regard to their streams."""
    assert answer.refusal is None, f"refused: {answer.refusal}"
    return [event for _, event in answer.recorded if isinstance(event, kind)]
