"""Decides the commands of a batch, on states that are loaded for all of them at once and cached."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from domain.decider import Command, StreamName, fold_of, unknown_party
from domain.decision import DECISIONS, MAX_READ_ROUNDS, Decision, Names
from domain.errors import Rejected
from infra.log.batch import Conflict
from infra.log.cache import StateCache
from infra.log.draft import Draft, Work
from infra.log.log import Loaded, Log
from infra.log.submission import Waiting

KNOWN_PARTIES_MAX = 50_000  # in memory, with the version of their stream


class BatchDecider:
    """Owns the cached states. The committer uses it for one batch at a time."""

    def __init__(self, log: Log, *, cache: StateCache, clock: Callable[[], datetime]) -> None:
        self.known_parties: dict[StreamName, int] = {}  # version of the stream that shows it
        self._log = log
        self._cache = cache
        self._clock = clock

    async def decide_all(self, batch: list[Waiting], draft: Draft) -> None:
        """Decide the commands in order, each on the results of those before it."""
        reads = [DECISIONS[type(waiting.command)].streams(waiting.command, {}) for waiting in batch]
        wanted = dict.fromkeys(name for names in reads for name in names)
        parties = self._parties_to_look_up(batch, wanted, draft)
        await self.provide(wanted, draft, parties)
        reads = await self._provide_ahead(batch, reads, draft)
        for waiting, names in zip(batch, reads, strict=True):
            if waiting.required_parties and (refusal := self._unknown_party(waiting, draft)):
                draft.unknown_parties[waiting.key] = refusal
                self._refuse(waiting, refusal, draft)
            else:
                decision, states = DECISIONS[type(waiting.command)], [draft.work[name].current() for name in names]
                if decision.asks_again:
                    states = await self._read_on(waiting.command, decision, names, draft)
                self._decide(waiting, decision, states, draft)

    async def _provide_ahead(self, batch: list[Waiting], reads: list[Names], draft: Draft) -> list[Names]:
        """Load what the states found so far name, for all commands in one query instead of one for each command.

        Returns what each command reads as far as that is known by now. The states that commands before it leave may
        name other streams, which are loaded when it is its turn.
        """
        asking = [n for n, waiting in enumerate(batch) if DECISIONS[type(waiting.command)].asks_again]
        if len(asking) < 2:
            return reads
        reads = list(reads)
        for n in asking:
            command, found = batch[n].command, {name: draft.work[name].current() for name in reads[n]}
            reads[n] = DECISIONS[type(command)].streams(command, found)
        await self.provide(dict.fromkeys(name for n in asking for name in reads[n]), draft)
        return reads

    def _parties_to_look_up(
        self, batch: list[Waiting], wanted: dict[StreamName, None], draft: Draft
    ) -> set[StreamName]:
        """The required parties that are not in memory. Adds to `wanted` those that the previous batch writes."""
        before = draft.before.work if draft.before else {}
        missing: set[StreamName] = set()
        for waiting in batch:
            for name in waiting.required_parties.values():
                if name in before:
                    wanted[name] = None
                elif name in draft.parties_seen or name in draft.work or name in wanted:
                    continue
                elif name in self.known_parties and not draft.fresh:
                    draft.parties_seen[name] = self.known_parties[name], True
                else:
                    missing.add(name)
        return missing

    def _unknown_party(self, waiting: Waiting, draft: Draft) -> Rejected | None:
        """The refusal if a required party is not known. The append checks the stream versions used here."""
        for path, name in waiting.required_parties.items():
            if work := draft.work.get(name):  # this batch or the previous one has a command about the party
                known = work.current().known
            else:
                version, known = draft.parties_seen[name]
                draft.batch.read.setdefault(name, version)
            if not known:
                return unknown_party(name)(path=path)
        return None

    def _remember_parties(self, loaded: Mapping[StreamName, Loaded], draft: Draft) -> None:
        for name, found in loaded.items():
            draft.parties_seen[name] = found.version, found.state.known
            if found.state.known:
                self.known_parties[name] = found.version
        while len(self.known_parties) > KNOWN_PARTIES_MAX:
            del self.known_parties[next(iter(self.known_parties))]

    async def provide(self, streams: Iterable[StreamName], draft: Draft, parties: Collection[StreamName] = ()) -> None:
        """Put these streams into the draft: from the batch before, from the cache, or loaded in one query.

        The same query loads `parties`, without personal data. Their states are not kept.
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
                draft.work[name] = Work(work.remembered, work.current(), work.version, work.evolve)
            elif loaded := self._cache.get(name):
                found[name] = loaded
            else:
                missing.append(name)
        if draft.fresh:
            await self._catch_up(found)
        if parties:
            all_loaded = await self._log.load([*missing, *parties], redacted=parties)
            self._remember_parties({name: all_loaded.pop(name) for name in parties}, draft)
            found |= self._kept(all_loaded)
        elif missing:
            found |= self._kept(await self._log.load(missing))
        for name, loaded in found.items():
            draft.work[name] = Work(loaded, loaded.state, loaded.version, fold_of(name).evolve)
        for name in streams:
            draft.batch.read.setdefault(name, draft.work[name].version)

    def _kept(self, found: dict[StreamName, Loaded]) -> dict[StreamName, Loaded]:
        for name, loaded in found.items():
            self._cache.put(name, loaded)
        self._cache.trim()
        return found

    async def _catch_up(self, found: dict[StreamName, Loaded]) -> None:
        """Bring cached states up to date. A stream cached without personal data may have some by now."""
        for name in found:
            self._cache.drop(name)
        await self._log.catch_up(found)
        for name, loaded in found.items():
            self._cache.put(name, loaded)

    def _decide(self, waiting: Waiting, decision: Decision, states: list[Any], draft: Draft) -> None:
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

    def _refuse(self, waiting: Waiting, refusal: Rejected, draft: Draft) -> None:
        draft.batch.refuse(waiting.key)
        draft.refused.append((waiting, refusal))

    async def _read_on(self, command: Command, decision: Decision, names: Names, draft: Draft) -> list[Any]:
        """The states that the command reads: `reads` is called with the states found until it names no new stream."""
        for _ in range(MAX_READ_ROUNDS):
            found = {name: draft.work[name].current() for name in names}
            names = decision.streams(command, found)
            if found.keys() >= set(names):
                return [found[name] for name in names]
            await self.provide(names, draft)
        raise RuntimeError(f"{type(command).__name__} reads more in every round")

    def remember(self, draft: Draft) -> None:
        """Cache the states of a batch that is on disk."""
        cache = self._cache
        for stream, work in draft.work.items():
            if work.version == work.remembered.version:
                continue
            self.known_parties.pop(stream, None)
            if work.sealed:
                cache.drop(stream)
                continue
            if work.pending:
                work.fold()
            remembered = work.remembered
            remembered.state, remembered.version = work.state, work.version
            cache.grew(remembered, work.written_bytes)
        cache.trim()

    def learn(self, conflict: Conflict) -> None:
        """Fold in events of other processes. If some are missing, drop the state."""
        for stream, version in conflict.stale.items():
            self.known_parties.pop(stream, None)
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
