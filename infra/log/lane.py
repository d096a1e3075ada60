"""The lane: commands that wait are decided one after another and appended together, one batch in flight."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import msgspec

from domain.decider import DECISIONS, MAX_READ_ROUNDS, Command, Decision, Event, Recorded, StreamName, copied, fold_of
from domain.errors import PersonUnknown, Rejected
from infra.log.cache import StateCache
from infra.log.log import Appended, Batch, Conflict, Key, Loaded, Log, Unavailable
from infra.log.secret import Secret
from infra.running.logging import log_failure
from infra.running.metrics import Metrics
from infra.running.tracing import Spans

BATCH_COMMANDS_MAX = 256
HALVE_FROM_COMMANDS = 64  # with fewer waiting, all go in one append
CONFLICTS_BEFORE_LOCK_MAX = 2
KNOWN_PERSONS_MAX = 50_000  # in memory, with the version of their stream
SETTLE_FOR_S = 20.0  # how long a batch is tried again while the database does not answer
SETTLE_PAUSE_S = 0.2  # before the first repetition; then more


NO_PERSONS: Mapping[str, StreamName] = {}


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """An accepted command. `position`: wait for it to read what was written. `replayed`: its key was known already."""

    position: int
    replayed: bool = False
    recorded: list[Recorded] = []


class Waiting(msgspec.Struct, frozen=True, eq=False):
    """A command in the queue, and where its caller waits for the outcome."""

    command: Command
    key: Key
    digest: bytes
    correlation: str
    answer: "asyncio.Future[Outcome]"
    came_at_s: float
    required_persons: Mapping[str, StreamName] = {}


class _Work(msgspec.Struct, gc=False):
    """A stream in a batch: as it was found, and what the batch adds to it.

    `state` belongs to the cache, or to the batch before, until somebody looks at it after this batch wrote to it, and
    is a copy from then on (`owned`): what is not on disk yet never gets into a state that outlives the batch.
    `sealed`: the batch adds personal data.
    """

    remembered: Loaded
    state: Any
    version: int
    evolve: Callable[[Any, Event], Any]
    owned: bool = False
    pending: list[Event] = []
    written_bytes: int = 0
    sealed: bool = False

    def current(self) -> Any:
        """The stream's state with all that the batch added so far."""
        if self.pending:
            if not self.owned:
                self.state, self.owned = copied(self.state), True
            self.fold()
        return self.state

    def fold(self) -> None:
        state, evolve = self.state, self.evolve
        for event in self.pending:
            state = evolve(state, event)
        self.state = state
        self.pending.clear()


class _Draft(msgspec.Struct):
    """A batch being decided, on top of the one `before` it, which is on its way to the disk."""

    batch: Batch
    before: "_Draft | None" = None
    fresh: bool = False  # the log is locked: what is remembered is brought up to date before it is used
    waiting: dict[Key, Waiting] = {}
    work: dict[StreamName, _Work] = {}
    accepted: list[tuple[Waiting, int, list[Recorded]]] = []
    refused: list[tuple[Waiting, Rejected]] = []
    persons_seen: dict[StreamName, tuple[int, bool]] = {}  # stream version, and whether known
    unknown_persons: dict[Key, Rejected] = {}  # refusals, by command
    failed: bool = False


class _Sent(msgspec.Struct):
    """A batch on its way to the disk."""

    draft: _Draft
    appending: "asyncio.Future[Appended | Conflict]"


class Overloaded(
    Rejected,
    es="Hay demasiadas solicitudes en este momento; intente de nuevo en unos segundos.",
    en="There are too many requests at the moment; try again in a few seconds.",
): ...


class ServiceUnavailable(
    Rejected,
    code="unavailable",
    es="El servicio no está disponible por un momento; repita la solicitud con la misma clave.",
    en="The service is not available for a moment; repeat the request with the same key.",
): ...


class IdempotencyKeyReused(
    Rejected,
    es="Esa clave de idempotencia ya se usó para otra solicitud.",
    en="That idempotency key was used for another request already.",
): ...


class Lane:
    """One per process. Start it in the event loop that submits; stop drains what waits."""

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
        self._clock = clock
        self._cache = StateCache() if cache is None else cache
        self._known_persons: dict[StreamName, int] = {}  # version of the stream that shows it
        self._waiting: list[Waiting] = []
        self._wake: asyncio.Future[None] | None = None  # while the lane has nothing to do
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # asking for it each time would ask the system each time
        self._stopping = False
        self._in_hand: list[Waiting] = []
        self._progress_at_s = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether commands are decided: started, and not stopped."""
        return self._task is not None and not self._task.done()

    @property
    def waited_s(self) -> float:
        """For how many seconds nothing has been answered, though commands wait; 0 if none do."""
        waits = self._waiting or any(not waiting.answer.done() for waiting in self._in_hand)
        return time.monotonic() - self._progress_at_s if waits else 0.0

    @property
    def waiting_commands(self) -> int:
        """How many have no answer yet."""
        return len(self._waiting) + sum(not waiting.answer.done() for waiting in self._in_hand)

    @property
    def oldest_wait_s(self) -> float:
        """For how many seconds the first of them has waited; 0 if none does."""
        came = [waiting.came_at_s for waiting in (*self._in_hand, *self._waiting[:1]) if not waiting.answer.done()]
        return time.monotonic() - min(came) if came else 0.0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Refuse what comes, finish what waits."""
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
        required_persons: Mapping[str, StreamName] = NO_PERSONS,
    ) -> "asyncio.Future[Outcome]":
        """Submit a command. The future gives its outcome when the command is on disk.

        `content` is what its sender said, if that is not the command itself: by it a repetition is known, whatever this
        version or its settings make of it. `required_persons` are the streams of persons who must be known when it is
        written, by the field that names them. If one is not, the command is refused as "person_unknown", unless it is a
        repetition.

        It raises Rejected if it may not happen, if its key was used for another command ("idempotency_key_reused"), if
        too many wait ("overloaded"), or if the database does not answer ("unavailable"; the key settles it later).
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
            required_persons=required_persons,
        )
        if not self._waiting and not self._in_hand:
            self._progress_at_s = now_s
        self._waiting.append(waiting)
        self._wake_up()
        return answer

    def _wake_up(self) -> None:
        """Wake the lane up if it waits for work."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def kept(self, key: Key) -> Key:
        """The key as the log keeps it: clients put names and numbers into keys, and the log is for ever."""
        return Key(key.actor, self._secret.key_name(key.actor, key.name), key.by)

    async def _run(self) -> None:
        """Go on whatever happens: what was in hand when something unforeseen came is answered, and the rest goes on."""
        while True:
            try:
                await self._work()
            except Exception as error:
                for waiting in self._in_hand:
                    self._fail(waiting, ServiceUnavailable(), "unavailable")
                self.metrics.answered(self._tally)
                log_failure("the lane stumbled", error, commands=len(self._in_hand))
            else:
                return

    async def _work(self) -> None:
        """One batch is on its way to the disk; the next is decided meanwhile, on what that one writes."""
        sent: _Sent | None = None
        while sent or self._waiting or not self._stopping:
            self._in_hand = list(sent.draft.waiting.values()) if sent else []
            draft = await self._next_draft(sent)
            before, sent = sent, None
            appended = await self._appended(before) if before else None
            stands = before is None or appended is not None  # else the draft stood on what did not happen
            if draft.waiting and stands and not draft.failed:
                # On its way before anything else is done: the database would wait meanwhile.
                sent = self._send(draft)
            if before and appended:
                self._remember(before.draft)
                self._answer(before.draft, appended)
            again = [*(before.draft.waiting.values() if before and not appended else ()), *draft.waiting.values()]
            if again and sent is None:
                await self._settle(again)
            if self._tally:
                self.metrics.answered(self._tally)  # once for all of a batch
            self._progress_at_s = time.monotonic()

    async def _next_draft(self, sent: _Sent | None) -> _Draft:
        """Decide what waits, and what comes until `sent` is on disk. Empty if nothing came until then."""
        draft = _Draft(self._log.batch(), before=sent.draft if sent else None)
        while True:
            if sent and draft.waiting and sent.appending.done():
                return draft  # what is on disk is answered now, however many keep coming
            came = self._take(draft, at_rest=sent is None)
            if came:
                try:
                    await self._decide_all(came, draft)
                except Exception:
                    draft.failed = True  # each for itself, then: see _settle
                    return draft
            elif sent.appending.done() if sent else draft.waiting or self._stopping:
                return draft
            else:
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
            if sent is None and draft.waiting:
                return draft

    def _take(self, draft: _Draft, *, at_rest: bool) -> list[Waiting]:
        """Move what waits into the draft, in order of arrival, up to the limit; a key at most once.

        The second with a key waits for the next batch: its outcome hangs on that of the first, which the log will know.
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

    def _send(self, draft: _Draft) -> _Sent:
        draft.before = None
        return _Sent(draft=draft, appending=self._append(draft))

    def _append(self, draft: _Draft) -> "asyncio.Future[Appended | Conflict]":
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
        """Wait for the batch. None if it was not written, or that is not known; what is known already is answered."""
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
        """One of them may be to blame: the others must not suffer for it."""
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
        """Those who came meanwhile would wait for the same: they may try again as well."""
        batch, self._waiting = batch + self._waiting, []
        for waiting in batch:
            self._fail(waiting, ServiceUnavailable(), "unavailable")
        log_failure("the database does not answer", error, commands=len(batch))

    async def _decide_and_append(self, batch: list[Waiting]) -> None:
        """Until each is answered: decide and append, with nothing else on its way. Raises Unavailable after a while.

        After two conflicts with the log locked from before anything is looked at, so that nothing can be stale: several
        processes share a stream that all want, instead of starving each other.
        """
        conflicts = lost = 0
        give_up_at_s = time.monotonic() + SETTLE_FOR_S
        while batch := [waiting for waiting in batch if not waiting.answer.done()]:
            turn: dict[Key, Waiting] = {}
            for waiting in batch[:BATCH_COMMANDS_MAX]:
                turn.setdefault(waiting.key, waiting)  # the second with a key has to see what became of the first
            draft = _Draft(self._log.batch(), fresh=conflicts >= CONFLICTS_BEFORE_LOCK_MAX, waiting=turn)
            try:
                async with self._log.locked() if draft.fresh else nullcontext():
                    await self._decide_all(list(turn.values()), draft)
                    answer = await self._append(draft)
            except Unavailable:
                lost += 1
                if time.monotonic() > give_up_at_s:
                    raise
                await asyncio.sleep(SETTLE_PAUSE_S * lost)
                continue
            if isinstance(answer, Appended):
                self._remember(draft)
                self._answer(draft, answer)
            else:
                conflicts += 1
                self._learn(answer)
                self._answer_known(batch, answer, draft)

    def _remember(self, draft: _Draft) -> None:
        """The batch is on disk: so are its states."""
        cache = self._cache
        for stream, work in draft.work.items():
            if work.version == work.remembered.version:
                continue
            self._known_persons.pop(stream, None)
            if work.sealed:
                cache.drop(stream)
                continue
            if work.pending:
                work.fold()
            remembered = work.remembered
            remembered.state, remembered.version = work.state, work.version
            cache.grew(remembered, work.written_bytes)
        cache.trim()

    def _learn(self, conflict: Conflict) -> None:
        """Fold in what others wrote; where that is not all of it, forget the state."""
        if conflict.stale:
            self.metrics.conflicts.inc()
        for stream, version in conflict.stale.items():
            self._known_persons.pop(stream, None)
            cached = self._cache.get(stream)
            if cached is None:
                continue
            missed = conflict.missed.get(stream, [])
            if cached.version + len(missed) != version:
                self._cache.drop(stream)
                continue
            evolve = fold_of(stream).evolve
            for event in missed:
                cached.state = evolve(cached.state, event)
            cached.version = version
            self._cache.grew(cached, conflict.missed_bytes.get(stream, 0))

    async def _decide_all(self, batch: list[Waiting], draft: _Draft) -> None:
        """Decide the commands in order, each on what those before it decided."""
        reads = [DECISIONS[type(waiting.command)].streams(waiting.command, {}) for waiting in batch]
        wanted = dict.fromkeys(name for names in reads for name in names)
        persons = self._persons_to_look_up(batch, wanted, draft)
        await self._provide(wanted, draft, persons)
        for waiting, names in zip(batch, reads, strict=True):
            if waiting.required_persons and (refusal := self._unknown_person(waiting, draft)):
                draft.unknown_persons[waiting.key] = refusal
                self._refuse(waiting, refusal, draft)
            else:
                decision, states = DECISIONS[type(waiting.command)], [draft.work[name].current() for name in names]
                if decision.asks_again:
                    states = await self._read_on(waiting.command, decision, names, draft)
                self._decide(waiting, decision, states, draft)

    def _persons_to_look_up(
        self, batch: list[Waiting], wanted: dict[StreamName, None], draft: _Draft
    ) -> set[StreamName]:
        """Required persons that are not in memory. Adds those that the batch before writes to `wanted`."""
        before = draft.before.work if draft.before else {}
        missing: set[StreamName] = set()
        for waiting in batch:
            for name in waiting.required_persons.values():
                if name in before:
                    wanted[name] = None
                elif name in draft.persons_seen or name in draft.work or name in wanted:
                    continue
                elif name in self._known_persons and not draft.fresh:
                    draft.persons_seen[name] = self._known_persons[name], True
                else:
                    missing.add(name)
        return missing

    def _unknown_person(self, waiting: Waiting, draft: _Draft) -> Rejected | None:
        """The refusal if a required person is not known. The append checks the stream versions used here."""
        for path, name in waiting.required_persons.items():
            if work := draft.work.get(name):  # this batch or the one before has a command about the person
                known = work.current().known
            else:
                version, known = draft.persons_seen[name]
                draft.batch.read.setdefault(name, version)
            if not known:
                return PersonUnknown(path=path)
        return None

    def _remember_persons(self, loaded: Mapping[StreamName, Loaded], draft: _Draft) -> None:
        for name, found in loaded.items():
            draft.persons_seen[name] = found.version, found.state.known
            if found.state.known:
                self._known_persons[name] = found.version
        while len(self._known_persons) > KNOWN_PERSONS_MAX:
            del self._known_persons[next(iter(self._known_persons))]

    async def _provide(
        self, streams: Iterable[StreamName], draft: _Draft, persons: Collection[StreamName] = ()
    ) -> None:
        """Put these streams into the draft: from the batch before, from the cache, or loaded in one query.

        The same query loads `persons`, without personal data. Their states are not kept.
        """
        before = draft.before.work if draft.before else {}
        found: dict[StreamName, Loaded] = {}
        missing = []
        for name in streams:
            if name in draft.work:
                continue
            if name in before:
                self._cache.get(name)  # it is in use
                work = before[name]
                draft.work[name] = _Work(work.remembered, work.current(), work.version, work.evolve)
            elif loaded := self._cache.get(name):
                found[name] = loaded
            else:
                missing.append(name)
        if draft.fresh:
            await self._catch_up(found)
        if persons:
            all_loaded = await self._log.load([*missing, *persons], redacted=persons)
            self._remember_persons({name: all_loaded.pop(name) for name in persons}, draft)
            found |= self._kept(all_loaded)
        elif missing:
            found |= self._kept(await self._log.load(missing))
        for name, loaded in found.items():
            draft.work[name] = _Work(loaded, loaded.state, loaded.version, fold_of(name).evolve)
        for name in streams:
            draft.batch.read.setdefault(name, draft.work[name].version)

    def _kept(self, found: dict[StreamName, Loaded]) -> dict[StreamName, Loaded]:
        for name, loaded in found.items():
            self._cache.put(name, loaded)
        self._cache.trim()
        return found

    async def _catch_up(self, found: dict[StreamName, Loaded]) -> None:
        """Bring remembered states up to date. What was remembered without personal data may have some by now."""
        for name in found:
            self._cache.drop(name)
        await self._log.catch_up(found)
        for name, loaded in found.items():
            self._cache.put(name, loaded)

    def _decide(self, waiting: Waiting, decision: Decision, states: list[Any], draft: _Draft) -> None:
        work = draft.work
        try:
            recorded = list(decision.decide(waiting.command, *states, now=self._clock()))
        except Rejected as refusal:
            self._refuse(waiting, refusal, draft)
            return
        batch = draft.batch
        for stream, event in recorded:
            written = work[stream]
            written.version += 1
            written.pending.append(event)
            written.written_bytes += batch.add(stream, written.version, event)
            if event.personal_fields:
                written.sealed = True
        ordinal = batch.accept(waiting.key, waiting.digest, waiting.correlation)
        draft.accepted.append((waiting, ordinal, recorded))

    def _refuse(self, waiting: Waiting, refusal: Rejected, draft: _Draft) -> None:
        draft.batch.refuse(waiting.key)
        draft.refused.append((waiting, refusal))

    async def _read_on(self, command: Command, decision: Decision, names: list[StreamName], draft: _Draft) -> list[Any]:
        """The states of what the command reads, asked again with what was found until it is nothing new."""
        for _ in range(MAX_READ_ROUNDS):
            found = {name: draft.work[name].current() for name in names}
            names = decision.streams(command, found)
            if found.keys() >= set(names):
                return [found[name] for name in names]
            await self._provide(names, draft)
        raise RuntimeError(f"{type(command).__name__} reads more in every round")

    def _answer(self, draft: _Draft, appended: Appended) -> None:
        base = appended.base
        for waiting, ordinal, recorded in draft.accepted:
            self._succeed(waiting, Outcome(base + ordinal, False, recorded), "accepted")
        for waiting, refusal in draft.refused:
            self._fail(waiting, refusal, "refused")

    def _answer_known(self, batch: Iterable[Waiting], conflict: Conflict, draft: _Draft) -> None:
        for waiting in batch:
            known = conflict.known.get(waiting.key.name)
            if known is None:
                continue
            digest, position = known
            if digest == waiting.digest:
                self._succeed(waiting, Outcome(position=position, replayed=True), "replayed")
            else:
                reused = IdempotencyKeyReused(path="idempotencyKey")
                self._fail(waiting, draft.unknown_persons.get(waiting.key, reused), "refused")

    def _succeed(self, waiting: Waiting, answer: Outcome, outcome: str) -> None:
        if not waiting.answer.done():  # its caller may have gone
            waiting.answer.set_result(answer)
            self._count(waiting.command, outcome)

    def _fail(self, waiting: Waiting, error: Exception, outcome: str) -> None:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
            self._count(waiting.command, outcome)

    def _count(self, command: Command, outcome: str) -> None:
        labels = type(command).__name__, outcome
        self._tally[labels] = self._tally.get(labels, 0) + 1
