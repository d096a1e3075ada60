"""`igob bench debts`: how fast debts are calculated, and the latency of a taxpayer's debts over HTTP.

Each taxpayer has a property and a vehicle, with a tax for each of some years, a part payment for some of them, and the
UFV of every day. A query asks for all debts of one taxpayer, as of a day.
"""

import asyncio
import multiprocessing
import random
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from api.contexts import load_domain
from bench.core import COMMANDS_AT_ONCE, opaque
from bench.login import SECRET
from bench.machine import Machine, commit, database_facts, machine, own_server
from bench.race import Client, serving
from bench.views import Waits, ask_at
from domain.decider import Command, build
from domain.identifiers import ci_key, obligation_id, parse_ci, taxable_object_id
from domain.money import Money
from domain.obligations import debt as calculation
from domain.obligations import interest, obligation, tax_year, ufv
from domain.obligations.amnesty import Amnesties
from domain.obligations.interest import PublishInterestRates
from domain.obligations.obligation import AssessTax, SettleObligation
from domain.obligations.taxable_object import RegisterTaxableObject
from domain.obligations.ufv import PublishUfv
from domain.people import RegisterPerson
from infra.log.core import Core, open_core
from infra.log.submission import Key
from infra.postgres.embedded import APPLICATION, OWNER
from infra.postgres.migrate import migrate
from infra.running.secret import load_secret
from infra.running.settings import Settings

AS_OF = date(2026, 6, 30)
LAST_YEAR = 2024
PAID_SHARE = 0.3
RATES = [{"hundredths": 400, "until_year": 4}, {"hundredths": 600, "until_year": 7}, {"hundredths": 1000}]
CALCULATED = 20_000
DEBTS_QUERY = """query($taxpayer: ID!, $asOf: Date!) { obligations(taxpayer: $taxpayer, first: 100) { nodes {
  id tax year due assessed { amount } debt(asOf: $asOf) { amount { amount } } } } }"""


class Result(msgspec.Struct):
    """`explained_per_s`: debts calculated with their explanation, in one process without a database.

    `debts_p50_ms` and `debts_p99_ms`: the time from when a request was due to its response over HTTP, for all debts of
    a taxpayer, at `queries_per_s`.
    """

    measured_at: str
    commit: str
    machine: Machine
    objects: int
    years: int
    fill_commands_per_s: float
    explained_per_s: float
    queries_per_s: float
    debts_p50_ms: float
    debts_p99_ms: float


def published(years: int) -> Iterator[Command]:
    """The interest rates, and a UFV that rises a little each day."""
    yield build(PublishInterestRates, norm="Ley 812", effective_from=date(2010, 1, 1), rates=RATES)
    day, value = date(LAST_YEAR - years + 1, 1, 1), 200_000
    while day <= AS_OF:
        yield build(PublishUfv, day=day, value=value)
        day, value = day + timedelta(days=1), value + 12


def persons(core: Core, taxpayers: list[str]) -> Iterator[Command]:
    for number, taxpayer in enumerate(taxpayers):
        identity = parse_ci(f"{5_000_000 + number}")
        digest = core.secret.identity_digest(ci_key(identity))
        names = {"given_names": "Ana", "family_names": "Quispe", "sex": "F", "birth_date": date(1980, 1, 1)}
        yield build(RegisterPerson, person=taxpayer, identity=identity, identity_digest=digest, **names)


def objects(taxpayers: list[str]) -> Iterator[Command]:
    for number, taxpayer in enumerate(taxpayers):
        plate = f"{number % 10_000:04}{''.join(chr(65 + number // 10_000 // 26**n % 26) for n in (2, 1, 0))}"
        for kind, named in (("PROPERTY", str(number + 1)), ("VEHICLE", plate)):
            yield build(RegisterTaxableObject, kind=kind, number=named, owner=taxpayer, since=date(2010, 1, 1))


def assessments(registered: list[str], years: int, dice: random.Random) -> Iterator[Command]:
    for taxed in registered:
        for year in range(LAST_YEAR - years + 1, LAST_YEAR + 1):
            amount = Money(centavos=dice.randrange(5_000, 1_000_000))
            due = date(year + 1, 9, 30)
            yield build(AssessTax, object=taxed, year=year, due=due, norm="RM 1", amount=amount)


def payments(registered: list[str], years: int, dice: random.Random) -> Iterator[Command]:
    for taxed in registered:
        for year in range(LAST_YEAR - years + 1, LAST_YEAR + 1):
            if dice.random() < PAID_SHARE:
                amount = Money(centavos=dice.randrange(1_000, 5_000))
                day = min(date(year + 1, 7, 1) + timedelta(days=dice.randrange(400)), AS_OF)
                owed = obligation_id(taxed, year)
                yield build(SettleObligation, obligation=owed, amount=amount, paid_on=day, reference="R-1")


def codes(taxpayers: int) -> list[str]:
    """The codes of the objects of so many taxpayers, in the order of `objects`."""
    wanted = (command for command in objects(["a" * 26] * taxpayers))
    return [command.object for command in wanted if isinstance(command, RegisterTaxableObject)]


def fill(settings: Settings, taxpayers: list[str], years: int) -> float:
    """Record everything, as fast as possible; return the commands per second."""

    async def run() -> float:
        load_domain()
        dice = random.Random(1)
        registered, count = codes(len(taxpayers)), 0
        async with open_core(settings) as core:
            begun = time.perf_counter()
            for commands in (
                published(years),
                persons(core, taxpayers),
                objects(taxpayers),
                assessments(registered, years, dice),
                payments(registered, years, dice),
            ):
                some = list(commands)
                count += len(some)
                for begin in range(0, len(some), COMMANDS_AT_ONCE):
                    part = some[begin : begin + COMMANDS_AT_ONCE]
                    await asyncio.gather(*(core.committer.submit(one, Key("bench", opaque())) for one in part))
            return count / (time.perf_counter() - begun)

    return asyncio.run(run())


def explained() -> float:
    """Debts calculated per second, each with its explanation."""
    load_domain()
    dice, quotes = random.Random(1), ufv.Ufv()
    for command in published(10):
        if isinstance(command, PublishUfv):
            quotes = ufv.evolve(quotes, ufv.UfvPublished(day=command.day, value=command.value))
    rates = interest.evolve(
        interest.InterestRates(),
        interest.InterestRatesPublished(
            norm="Ley 812",
            effective_from=date(2010, 1, 1),
            rates=[msgspec.convert(rate, interest.Rate) for rate in RATES],
        ),
    )
    each = []
    for _ in range(CALCULATED):
        year = dice.randrange(LAST_YEAR - 9, LAST_YEAR + 1)
        code, due = taxable_object_id("PROPERTY", "1"), date(year + 1, 9, 30)
        happened = obligation.Obligation()
        amount = Money(centavos=dice.randrange(5_000, 1_000_000))
        assessed = obligation.TaxAssessed(
            obligation=obligation_id(code, year), object=code, tax="IPBI", year=year, amount=amount, due=due, norm="n"
        )
        obligation.evolve(happened, assessed)
        if dice.random() < PAID_SHARE:
            paid = Money(centavos=dice.randrange(1_000, 5_000))
            day = min(due + timedelta(days=dice.randrange(400)), AS_OF)
            receipt = obligation.ObligationSettled(
                obligation=assessed.obligation, amount=paid, paid_on=day, reference="R-1"
            )
            obligation.evolve(happened, receipt)
        each.append(
            calculation.Facts(
                obligation=happened,
                tax_year=tax_year.TaxYear(),
                amnesties=Amnesties(),
                holidays=(),
                quotes=quotes.values,
                rates=rates,
            )
        )
    begun = time.perf_counter()
    for facts in each:
        calculation.debt(facts, AS_OF)
    return CALCULATED / (time.perf_counter() - begun)


def run(*, taxpayers: int, years: int, seconds: float, queries_per_s: float, console: Console) -> Result:
    """Fill a new log, then query it for `seconds`."""
    load = round(psutil.getloadavg()[0], 1)
    people = [opaque() for _ in range(taxpayers)]
    spawn = multiprocessing.get_context("spawn")
    with own_server("igob bench debts") as server, ProcessPoolExecutor(1, mp_context=spawn) as pool:
        settings = Settings(data_dir=server.folder, schema="bench", secret=SECRET, requests_per_s=0, anonymous_per_s=0)
        with console.status("filling the log"):
            migrate(
                server.conninfo(OWNER),
                schema=settings.schema,
                application_role=APPLICATION,
                secret=load_secret(settings),
            )
            filled = pool.submit(fill, settings, people, years).result()
        with console.status("calculating"):
            per_s = pool.submit(explained).result()
        with console.status("querying"), serving(server, settings, 1) as url:
            query = _ask(url, people, years, queries_per_s, seconds)
        where = machine(database_facts(server), load=load)
    return Result(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        commit=commit(),
        machine=where,
        objects=2 * taxpayers,
        years=years,
        fill_commands_per_s=round(filled),
        explained_per_s=round(per_s),
        queries_per_s=query.rate_per_s,
        debts_p50_ms=query.p50_ms,
        debts_p99_ms=query.p99_ms,
    )


def _ask(url: str, people: list[str], years: int, per_s: float, seconds: float) -> Waits:
    def ask(client: Client, dice: random.Random) -> None:
        found = client.query(DEBTS_QUERY, taxpayer=dice.choice(people), asOf=AS_OF.isoformat())
        assert len(found["obligations"]["nodes"]) == 2 * years

    _wait_until_built(url, people[-1], 2 * years)
    return ask_at(url, ask, per_s, seconds)


def _wait_until_built(url: str, taxpayer: str, obligations: int) -> None:
    """Until the read models have the last taxpayer's obligations."""
    client = Client(url)
    while True:
        found = client.query(DEBTS_QUERY, taxpayer=taxpayer, asOf=AS_OF.isoformat())
        if len(found["obligations"]["nodes"]) == obligations:
            break
        time.sleep(0.5)
    client.close()


def show(result: Result, console: Console) -> None:
    """Print the result as a table."""
    title = f"Debts: {result.objects:,} objects × {result.years} years, {result.measured_at} {result.commit}"
    table = Table(title=title, box=None)
    for column in ("what", "measured"):
        table.add_column(column)
    table.add_row("recorded through the committer", f"{result.fill_commands_per_s:,.0f} commands/s")
    table.add_row("debts calculated, one process", f"{result.explained_per_s:,.0f}/s")
    table.add_row(
        f"all debts of a taxpayer over HTTP, {result.queries_per_s:.0f}/s",
        f"p50 {result.debts_p50_ms} ms, p99 {result.debts_p99_ms} ms",
    )
    console.print(table)
    console.print(result.machine.described())
