"""The committer: waiting commands are decided one after another and appended together, with one batch in flight."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import msgspec

from domain.decider import Command, StreamName
from infra.log.batch import Appended, Conflict
from infra.log.cache import StateCache
from infra.log.deciding import BatchDecider
from infra.log.draft import Draft
from infra.log.log import Log
from infra.log.submission import NO_PARTIES, IdempotencyKeyReused, Key, Outcome, Overloaded, ServiceUnavailable, Waiting
from infra.postgres.connections import Unavailable
from infra.running.logging import log_failure
from infra.running.metrics import Metrics
from infra.running.secret import Secret
from infra.running.tracing import Spans

BATCH_COMMANDS_MAX = 256
HALVE_FROM_COMMANDS = 64  # with fewer waiting commands, all go into one append
CONFLICTS_BEFORE_LOCK_MAX = 2
SETTLE_FOR_S = 20.0  # how long a batch is tried again while the database does not answer
SETTLE_PAUSE_S = 0.2  # before the first retry; later pauses are longer


class _Sent(msgspec.Struct):
    """A batch that is being written."""

    draft: Draft
    appending: "asyncio.Future[Appended | Conflict]"


class Committer:
    """One per process. Start it in the event loop that submits; `stop` finishes the waiting commands."""

    def __init__(
        self,
        events: Log,
        *,
        secret: Secret,
        queue_max: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        cache: StateCache | None = None,
        metrics: Metrics | None = None,
        spans: Spans | None = None,
    ) -> None:
        self.queue_max = queue_max
        self.metrics = Metrics() if metrics is None else metrics
        self._spans = spans
        self._tally: dict[tuple[str, str], int] = {}  # commands answered since the last batch, by kind and outcome
        self._log = events
        self._secret = secret
        self._decider = BatchDecider(events, cache=StateCache() if cache is None else cache, clock=clock)
        self._waiting: list[Waiting] = []
        self._wake: asyncio.Future[None] | None = None  # while the committer has nothing to do
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # cached: get_running_loop() makes a system call
        self._stopping = False
        self._in_hand: list[Waiting] = []
        self._progress_at_s = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether commands are decided: started, and not stopped."""
        return self._task is not None and not self._task.done()

    @property
    def waited_s(self) -> float:
        """For how many seconds no command was answered while some are waiting; 0 if none is."""
        waits = self._waiting or any(not waiting.answer.done() for waiting in self._in_hand)
        return time.monotonic() - self._progress_at_s if waits else 0.0

    @property
    def waiting_commands(self) -> int:
        """The number of commands without an answer."""
        return len(self._waiting) + sum(not waiting.answer.done() for waiting in self._in_hand)

    @property
    def oldest_wait_s(self) -> float:
        """For how many seconds the oldest command has waited; 0 if none is waiting."""
        came = [waiting.came_at_s for waiting in (*self._in_hand, *self._waiting[:1]) if not waiting.answer.done()]
        return time.monotonic() - min(came) if came else 0.0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Refuse new commands, and finish the waiting ones."""
        self._stopping = True
        self._wake_up()
        if self._task:
            await self._task

    def submit(
        self,
        command: Command,
        key: Key,
        *,
        content: Any = None,
        correlation: str = "",
        required_parties: Mapping[str, StreamName] = NO_PARTIES,
    ) -> "asyncio.Future[Outcome]":
        """Submit a command. The future gives its outcome when the command is on disk.

        A repetition is recognised by `content`, the client's input, or else by the command. `required_parties`: streams
        of parties, by field. If one is not known when it is written, and it is no repetition, it is `unknown_party`.

        The future raises Rejected, also if the key was used for another command ("idempotency_key_reused"), too many
        wait ("overloaded"), or the database does not answer ("unavailable"; the key settles it later).
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outcome] = loop.create_future()
        if self._stopping or len(self._waiting) >= self.queue_max:
            self._count(command, "overloaded")
            answer.set_exception(Overloaded())
            return answer
        now_s = time.monotonic()
        waiting = Waiting(
            command=command,
            key=self.kept(key),
            digest=self._secret.request_digest(type(command).__name__, command if content is None else content),
            correlation=correlation,
            answer=answer,
            came_at_s=now_s,
            required_parties=required_parties,
        )
        if not self._waiting and not self._in_hand:
            self._progress_at_s = now_s
        self._waiting.append(waiting)
        self._wake_up()
        return answer

    def _wake_up(self) -> None:
        """Wake the committer up if it waits for work."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def kept(self, key: Key) -> Key:
        """The key as the log stores it: hashed, because clients put names and numbers into keys."""
        return Key(key.actor, self._secret.key_name(key.actor, key.name), key.by)

    async def _run(self) -> None:
        """Keep working whatever happens: after an unexpected error, answer the commands in hand and go on."""
        while True:
            try:
                await self._work()
            except Exception as error:
                for waiting in self._in_hand:
                    self._fail(waiting, ServiceUnavailable(), "unavailable")
                self.metrics.answered(self._tally)
                log_failure("the committer failed unexpectedly", error, commands=len(self._in_hand))
            else:
                return

    async def _work(self) -> None:
        """While one batch is being written, decide the next one on its results."""
        sent: _Sent | None = None
        while sent or self._waiting or not self._stopping:
            self._in_hand = list(sent.draft.waiting.values()) if sent else []
            draft = await self._next_draft(sent)
            before, sent = sent, None
            appended = await self._appended(before) if before else None
            stands = (
                before is None or appended is not None
            )  # otherwise the draft is based on events that were not written
            if draft.waiting and stands and not draft.failed:
                # Send it before doing anything else, so that the database does not wait.
                sent = self._send(draft)
            if before and appended:
                self._decider.remember(before.draft)
                self._answer(before.draft, appended)
            again = [*(before.draft.waiting.values() if before and not appended else ()), *draft.waiting.values()]
            if again and sent is None:
                await self._settle(again)
            if self._tally:
                self.metrics.answered(self._tally)  # once for all of a batch
            self._progress_at_s = time.monotonic()

    async def _next_draft(self, sent: _Sent | None) -> Draft:
        """Decide the waiting commands, and those that arrive until `sent` is on disk. Empty if there are none."""
        draft = Draft(self._log.batch(), before=sent.draft if sent else None)
        while True:
            if sent and draft.waiting and sent.appending.done():
                return draft  # answer what is on disk now, even if more commands keep coming
            came = self._take(draft, at_rest=sent is None)
            if came:
                try:
                    await self._decider.decide_all(came, draft)
                except Exception:
                    draft.failed = True  # then each command is settled alone, see _settle
                    return draft
            elif sent.appending.done() if sent else draft.waiting or self._stopping:
                return draft
            else:
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
            if sent is None and draft.waiting:
                return draft

    def _take(self, draft: Draft, *, at_rest: bool) -> list[Waiting]:
        """Move waiting commands into the draft, in order of arrival, up to the limit; each key at most once.

        A second command with the same key waits for the next batch: its outcome depends on that of the first.
        With no append in flight and HALVE_FROM_COMMANDS or more waiting, take half: the other half is decided while the
        first is written. An append costs as much before its first command as for a dozen, so fewer are not divided.
        """
        came, later = [], []
        room = BATCH_COMMANDS_MAX - len(draft.waiting)
        if at_rest and len(self._waiting) >= HALVE_FROM_COMMANDS:
            room = min(room, (len(self._waiting) + 1) // 2)
        for waiting in self._waiting[:room]:
            if waiting.key in draft.waiting:
                later.append(waiting)
            else:
                draft.waiting[waiting.key] = waiting
                came.append(waiting)
        self._in_hand += came
        self._waiting[:room] = later
        return came

    def _send(self, draft: Draft) -> _Sent:
        draft.before = None
        return _Sent(draft=draft, appending=self._append(draft))

    def _append(self, draft: Draft) -> "asyncio.Future[Appended | Conflict]":
        """Append the batch and record metrics. The future raises Unavailable."""
        commands, begun_ns = len(draft.waiting), time.time_ns()
        self.metrics.batch.observe(commands)
        appending = asyncio.ensure_future(self._log.append(draft.batch))
        appending.add_done_callback(lambda ended: self._note(ended, commands, begun_ns))
        return appending

    def _note(self, ended: "asyncio.Future[Appended | Conflict]", commands: int, begun_ns: int) -> None:
        self._wake_up()
        if ended.cancelled():
            return
        error = ended.exception()
        if isinstance(error, Unavailable):
            self.metrics.retries.inc()
        if self._spans:
            outcome = "unavailable" if isinstance(error, Unavailable) else "failed"
            if error is None:
                outcome = "appended" if isinstance(ended.result(), Appended) else "conflict"
            self._spans.batch(commands, outcome, begun_ns)

    async def _appended(self, sent: _Sent) -> Appended | None:
        """Wait for the batch. None if it was not written, or that is unknown; known outcomes are answered."""
        try:
            answer = await sent.appending
        except Exception:
            return None
        if isinstance(answer, Appended):
            return answer
        self._learn(answer)
        self._answer_known(sent.draft.waiting.values(), answer, sent.draft)
        return None

    async def _settle(self, batch: list[Waiting]) -> None:
        """Answer every command of the batch, whatever happens."""
        try:
            await self._decide_and_append(batch)
        except Unavailable as error:
            self._give_up(batch, error)
        except Exception as error:
            if len(batch) > 1:
                await self._settle_one_by_one(batch)
            else:
                self._fail(batch[0], error, "failed")
                log_failure("a command failed", error, command=type(batch[0].command).__name__)

    async def _settle_one_by_one(self, batch: list[Waiting]) -> None:
        """Settle each command alone, because one of them may be the cause of the failure."""
        for place, waiting in enumerate(batch):
            try:
                await self._decide_and_append([waiting])
            except Unavailable as error:
                self._give_up(batch[place:], error)
                return
            except Exception as error:
                self._fail(waiting, error, "failed")
                log_failure("a command failed", error, command=type(waiting.command).__name__)

    def _give_up(self, batch: list[Waiting], error: Unavailable) -> None:
        """Refuse these commands and those that arrived meanwhile: their callers may try again."""
        batch, self._waiting = batch + self._waiting, []
        for waiting in batch:
            self._fail(waiting, ServiceUnavailable(), "unavailable")
        log_failure("the database does not answer", error, commands=len(batch))

    async def _decide_and_append(self, batch: list[Waiting]) -> None:
        """Decide and append until each command is answered, with no other batch in flight. Raises Unavailable.

        After two conflicts it locks the log before it reads, so that nothing can be stale: several processes then share
        a contended stream instead of starving each other.
        """
        conflicts = lost = 0
        give_up_at_s = time.monotonic() + SETTLE_FOR_S
        while batch := [waiting for waiting in batch if not waiting.answer.done()]:
            unique: dict[Key, Waiting] = {}
            for waiting in batch[:BATCH_COMMANDS_MAX]:
                # A second command with the same key needs the outcome of the first.
                unique.setdefault(waiting.key, waiting)
            draft = Draft(self._log.batch(), fresh=conflicts >= CONFLICTS_BEFORE_LOCK_MAX, waiting=unique)
            try:
                async with self._log.locked() if draft.fresh else nullcontext():
                    await self._decider.decide_all(list(unique.values()), draft)
                    answer = await self._append(draft)
            except Unavailable:
                lost += 1
                if time.monotonic() > give_up_at_s:
                    raise
                await asyncio.sleep(SETTLE_PAUSE_S * lost)
                continue
            if isinstance(answer, Appended):
                self._decider.remember(draft)
                self._answer(draft, answer)
            else:
                conflicts += 1
                self._learn(answer)
                self._answer_known(batch, answer, draft)

    def _learn(self, conflict: Conflict) -> None:
        if conflict.stale:
            self.metrics.conflicts.inc()
        self._decider.learn(conflict)

    def _answer(self, draft: Draft, appended: Appended) -> None:
        base = appended.base
        for waiting, ordinal, recorded in draft.accepted:
            self._succeed(waiting, Outcome(base + ordinal, False, recorded), "accepted")
        for waiting, refusal in draft.refused:
            self._fail(waiting, refusal, "refused")

    def _answer_known(self, batch: Iterable[Waiting], conflict: Conflict, draft: Draft) -> None:
        for waiting in batch:
            known = conflict.known.get(waiting.key.name)
            if known is None:
                continue
            digest, position = known
            if digest == waiting.digest:
                self._succeed(waiting, Outcome(position=position, replayed=True), "replayed")
            else:
                reused = IdempotencyKeyReused(path="idempotencyKey")
                self._fail(waiting, draft.unknown_parties.get(waiting.key, reused), "refused")

    def _succeed(self, waiting: Waiting, answer: Outcome, outcome: str) -> None:
        if not waiting.answer.done():  # its caller may have been cancelled
            waiting.answer.set_result(answer)
            self._count(waiting.command, outcome)

    def _fail(self, waiting: Waiting, error: Exception, outcome: str) -> None:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
            self._count(waiting.command, outcome)

    def _count(self, command: Command, outcome: str) -> None:
        labels = type(command).__name__, outcome
        self._tally[labels] = self._tally.get(labels, 0) + 1
