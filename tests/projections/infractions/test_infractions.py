"""The read model of infractions is what their streams say, whatever happens and however the log is cut into pages."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import pytest

import projections.engine.building
import projections.engine.pages
from domain.calendar import local_date
from domain.decider import Command, build
from domain.errors import Rejected
from domain.infractions.contesting import ContestInfraction, ResolveContest
from domain.infractions.infraction import STATUS_WORDS, Infraction, stream
from domain.infractions.settling import ReverseInfractionSettlement, SendToCollection, SettleInfraction
from infra.log.core import Core
from infra.postgres.views import Views
from projections.engine.generations import Places
from projections.engine.keyset import Range
from projections.engine.runner import verify
from projections.engine.search import simplified
from projections.infractions.infractions import INFRACTIONS, LATEST_FIRST, InfractionRow, in_status, of_plate, totals
from tests.city import key, opaque
from tests.conftest import Clock
from tests.infractions import OFFICER, catalogue, issue
from tests.projecting import decode, projector
from tests.towns import Town

pytestmark = pytest.mark.anyio

PLATES = ("1234ABC", "999XYZ")
DISTRICTS = ("Centro", "Periférica", "periferica")
ALL = Range(limit=1_000)


class Street:
    """Does what comes to mind."""

    def __init__(self, core: Core, clock: Clock, dice: random.Random) -> None:
        self.core = core
        self.clock = clock
        self.dice = dice
        self.issued: list[str] = []
        self.count = 0

    async def act(self) -> None:
        self.count += 1
        self.clock.wait(self.dice.choice([0, 60, 20_000]))
        wish = self._wish()
        with suppress(Rejected):
            await self.core.committer.submit(wish, key(str(self.count)))

    def _wish(self) -> Command:
        dice = self.dice
        if not self.issued or dice.random() < 0.2:
            return self._infraction()
        infraction, receipt = dice.choice(self.issued), f"R-{dice.randrange(12)}"
        day = local_date(self.clock.now) - timedelta(days=dice.randrange(3))
        kinds: list[Command] = [
            build(ContestInfraction, infraction=infraction, statement="m"),
            build(SendToCollection, infraction=infraction, document="OC"),
            build(ReverseInfractionSettlement, infraction=infraction, reference=receipt, reason="cheque"),
            build(
                ResolveContest,
                infraction=infraction,
                outcome=dice.choice(["UPHELD", "ANNULLED"]),
                resolution="RA",
                norm="LM",
                resolved_by=OFFICER,
            ),
        ]
        pay = build(
            SettleInfraction,
            infraction=infraction,
            amount=dice.choice([100, 5_000, 45_377]),
            paid_on=day,
            reference=receipt,
        )
        return dice.choice([*kinds, pay, pay])

    def _infraction(self) -> Command:
        plate = self.dice.choice(PLATES)
        name = f"{plate.lower()}/{opaque(str(self.count))}"
        self.issued.append(name)
        ago = timedelta(days=self.dice.choice([0, 1, 10, 40]), minutes=self.dice.randrange(3))
        return issue(
            infraction=name, plate=plate, district=self.dice.choice(DISTRICTS), occurred_at=self.clock.now - ago
        )


@pytest.mark.parametrize("seed", range(4))
async def test_any_pages_give_the_same_rows_as_a_rebuild_and_as_the_streams(
    core: Core, town: Town, views: Views, clock: Clock, seed: int
) -> None:
    dice = random.Random(seed)
    for number, command in enumerate(catalogue()):
        await core.committer.submit(command, key(f"published {number}"))
    street = Street(core, clock, dice)
    with projector(town, [INFRACTIONS]) as projecting:
        for _ in range(40):
            await asyncio.gather(*(street.act() for _ in range(dice.randint(1, 5))))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(projections.engine.pages, "PAGE_EVENTS_MAX", dice.choice([1, 2, 3, 7, 5_000]))
                patch.setattr(projections.engine.building, "KEPT_BYTES_MAX", dice.choice([0, 500, 2**26]))
                projecting.catch_up(look=dice.random() < 0.5)
        await agree(street, views)
    found = verify(town.application, Places(town.schema), INFRACTIONS, decode)
    assert (found.rows, found.different) == (len(street.issued), 0), str(found)


async def agree(street: Street, views: Views) -> None:
    """What the read model answers is what the streams say."""
    states: dict[str, Infraction] = {name: await street.core.log.state(stream(name)) for name in street.issued}
    seen: dict[str, InfractionRow] = {}
    for plate in PLATES:
        rows, _ = await views.ask(of_plate(plate, part=ALL))
        assert [LATEST_FIRST.key(row) for row in rows] == sorted(map(LATEST_FIRST.key, rows), reverse=True)
        seen |= {row.infraction: row for row in rows}
        assert {row.plate for row in rows} <= {plate}
    assert {name: row.account for name, row in seen.items()} == {name: one.account for name, one in states.items()}
    by_status = Counter(one.account.status for one in states.values() if one.account)
    assert len(by_status) >= 3, by_status  # else the histories are too tame to show anything
    for status in STATUS_WORDS:
        rows, _ = await views.ask(in_status(status, district=None, part=ALL))
        assert len(rows) == by_status[status]
        assert {row.account.status for row in rows} <= {status}
        rows, _ = await views.ask(in_status(status, district="PERIFERICA", part=ALL))
        assert {row.infraction for row in rows} == {
            name
            for name, one in states.items()
            if one.account and one.account.status == status and one.issued and one.issued.district != "Centro"
        }
    figures, _ = await views.ask(totals(figures_max=100))
    assert sum(one.infractions for one in figures) == len(states)
    assert sum(one.fines for one in figures) == sum(row.fine for row in seen.values())
    assert sum(one.paid for one in figures) == sum(
        payment.amount.centavos for one in states.values() if one.account for payment in one.account.payments.values()
    )
    names = [simplified(one.district) for one in figures]
    assert names == sorted(names)
    fewer, _ = await views.ask(totals(figures_max=2))
    assert fewer == figures[:2]
