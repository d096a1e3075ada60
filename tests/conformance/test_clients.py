"""Published clients, unchanged, under Node, against a real server.

The samples of docs/front-ends.md are run as they stand there, with urql, Apollo Client, Relay and Code Generator.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.login import DEVELOPER, bearer
from infra.gateways.keys import Login
from tests.clusters import prepare
from tests.following import Ward
from tests.serving import Home, Serving

REPOSITORY = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
SAMPLE = re.compile(r"^```(\w+) file=(\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HOSPITAL = "la-merced"
AGENDAS = 5
SLOTS = 12
LIVE_CLIENTS = {"graphql-ws", "graphql-sse", "@urql/core over graphql-ws", "@urql/core over event streams"}
OTHER = Login(subject="other", roles=["developer"])  # whoever declares a dependency may not confirm it
TIMEOUT_S = 300
TOKEN = bearer().removeprefix("Bearer ")
ENVIRONMENT = {**os.environ, "IGOB_TOKEN": TOKEN}

pytestmark = pytest.mark.long


def run(folder: Path, *command: str) -> str:
    """What a program of the folder prints."""
    ran = subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, timeout=TIMEOUT_S, env=ENVIRONMENT
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A front end's folder with the samples of the page, the schema, and the clients installed."""
    folder = tmp_path_factory.mktemp("front-end") / "project"
    shutil.copytree(CLIENTS, folder, ignore=shutil.ignore_patterns("node_modules"))
    samples = SAMPLE.findall((REPOSITORY / "docs" / "front-ends.md").read_text(encoding="utf-8"))
    assert samples
    for _, name, text in samples:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(REPOSITORY / "docs" / "schema.graphql", folder)
    run(folder, "npm", "ci", "--no-audit", "--no-fund")
    (folder / "src" / "__generated__").mkdir()
    run(folder, "npx", "relay-compiler")
    run(folder, "npx", "graphql-codegen", "--config", "codegen.json")
    return folder


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(prepare(tmp_path_factory.mktemp("city") / "data"))
    yield home
    home.stop()


def do(url: str, command: str, wants: str, *, login: Login = DEVELOPER, **fields: Any) -> dict[str, Any]:
    """One command, which is accepted."""
    kind = f"{command[0].upper()}{command[1:]}Input"
    query = f"mutation ($input: {kind}!) {{ {command}(input: $input) {{ {wants} errors {{ code path }} }} }}"
    key = sha256(json.dumps([command, fields]).encode()).hexdigest()
    variables = {"input": {"idempotencyKey": key, **fields}}
    headers = {"Authorization": bearer(login)}
    answer = httpx.post(
        f"{url}/graphql", json={"query": query, "variables": variables}, headers=headers, trust_env=False
    )
    payload: dict[str, Any] = answer.json()["data"][command]
    assert payload["errors"] == [], payload
    return payload


def wishes_of(url: str, client: str) -> dict[str, Any]:
    """What a client works with: agendas of a hospital of its own, patients, and a child of two guardians."""
    hospital = f"{HOSPITAL}-{client}"
    do(url, "registerHospital", "", hospital=hospital, name="La Merced")
    day = (datetime.now(UTC) + timedelta(days=7)).date()
    start = datetime(day.year, day.month, day.day, 13, tzinfo=UTC)
    slots = [{"start": (start + timedelta(minutes=20 * n)).isoformat(), "minutes": 20} for n in range(SLOTS)]
    agendas = [
        do(
            url, "publishAgenda", "agenda { id }", hospital=hospital, specialty="pediatrics", practitioner=f"p-{n}",
            date=day.isoformat(), slots=slots,
        )["agenda"]["id"]
        for n in range(AGENDAS)
    ]  # fmt: skip
    base = int(sha256(client.encode()).hexdigest()[:5], 16) + 1_000_000
    people = [
        do(
            url, "registerPerson", "person { id }", identity=str(base + n), givenNames="Ana", familyNames="Mamani",
            birthDate="1990-05-17", sex="F",
        )["person"]["id"]
        for n in range(5)
    ]  # fmt: skip
    patient, other, one, two, child = people
    for guardian in (one, two):
        do(url, "declareDependant", "", login=OTHER, guardian=guardian, dependant=child, relation="CARE")
    return {
        "hospital": hospital, "agendas": agendas, "patient": patient, "other": other, "guardians": [one, two],
        "child": child,
    }  # fmt: skip


@pytest.mark.parametrize("client", ["urql", "apollo", "relay"])
def test_pages_join_and_the_cache_agrees_with_the_log(project: Path, city: Home, client: str) -> None:
    """Each client pages, books, reschedules, cancels and confirms, while the server is restarted in between."""
    server = city.served()
    url = server.url()
    arguments = [f"{url}/graphql", json.dumps(wishes_of(url, client))]
    program = subprocess.Popen(
        ["node", "--import", "./resolve.mjs", f"{client}.mjs", *arguments],
        cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    restarts = 0
    try:
        assert program.stdin
        assert program.stdout
        while (line := program.stdout.readline().strip()) == "restart":
            restarts += 1
            city.stop()
            city.served(port=int(url.rpartition(":")[2]))
            program.stdin.write("go on\n")
            program.stdin.flush()
        _, errors = program.communicate(timeout=TIMEOUT_S)
    finally:
        program.kill()
        program.communicate()
    assert (line, program.returncode, restarts) == ("done", 0, 2), errors


def test_typed_documents_are_made_and_checked(project: Path) -> None:
    (project / "typed.ts").write_text(
        'import type { BookAppointmentMutation } from "./gql/graphql";\n'
        "export const free = (data: BookAppointmentMutation): number | undefined =>\n"
        "  data.bookAppointment.agenda?.freeSlots;\n"
    )
    checked = [
        "npx",
        "tsc",
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        "--module",
        "esnext",
        "--moduleResolution",
        "bundler",
    ]
    run(project, *checked, "typed.ts")
    (project / "wrong.ts").write_text(
        'import type { BookAppointmentMutation } from "./gql/graphql";\n'
        "export const free = (data: BookAppointmentMutation): string => data.bookAppointment.agenda.freeSlots;\n"
    )
    ran = subprocess.run([*checked, "wrong.ts"], cwd=project, check=False, capture_output=True, text=True)
    assert "not assignable to type 'string'" in ran.stdout


def test_a_live_field_resumes_after_a_restart(project: Path, city: Home) -> None:
    url = city.served().url()
    wishes = wishes_of(url, "live")
    program = subprocess.Popen(
        ["node", "live.mjs", f"{url}/graphql", json.dumps(wishes)],
        cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    try:
        assert program.stdout
        assert program.stdout.readline().strip() == str(SLOTS)
        agenda = wishes["agendas"][0]
        do(url, "bookAppointment", "", agenda=agenda, slot=1, patient=wishes["patient"])
        assert program.stdout.readline().strip() == str(SLOTS - 1)
        city.stop()
        city.served(port=int(url.rpartition(":")[2]))
        do(url, "bookAppointment", "", agenda=agenda, slot=2, patient=wishes["other"])
        assert program.stdout.readline().strip() == str(SLOTS - 2)
    finally:
        program.kill()
        program.communicate()


def test_only_trusted_documents_are_executed(project: Path, tmp_path: Path) -> None:
    """The list that Code Generator made is what the server reads."""
    trusted = project / "gql" / "persisted-documents.json"
    documents: dict[str, str] = json.loads(trusted.read_text())
    digest = next(one for one, text in documents.items() if "query Viewer" in text)
    settings = {"IGOB_TRUSTED_DOCUMENTS": str(trusted), "IGOB_TRUSTED_ONLY": "true"}
    server = Serving("--data-dir", str(prepare(tmp_path / "city")), settings=settings)
    try:
        url = f"{server.url()}/graphql"
        program = (
            'import { execute } from "./trusted.mjs";'
            f'const headers = {{ Authorization: "Bearer {TOKEN}" }};'
            f'console.log(JSON.stringify(await execute("{url}", headers, "{digest}", {{}})));'
        )
        answer = json.loads(run(project, "node", "--input-type=module", "-e", program))
    finally:
        server.stop()
    assert answer["data"]["viewer"]["roles"] == ["DEVELOPER"]


def test_published_clients_follow_an_agenda(project: Path, city: Home) -> None:
    """They are told each change, and leave cleanly."""
    url = city.served().url()
    ward = Ward(url)
    agenda = ward.publish(slots=SLOTS)
    found = json.loads(run(project, "node", "follow.mjs", f"{url}/graphql", agenda, ward.ana))  # it ends by itself
    assert set(found) == LIVE_CLIENTS
    for name, one in found.items():
        assert [told["agenda"]["freeSlots"] for told in one["told"]] == [SLOTS, SLOTS - 1, SLOTS], name
        assert one["told"][0]["previous"] is None
        assert [told["previous"] for told in one["told"][1:]] == [told["position"] for told in one["told"][:-1]], name
        assert (one["refused"], one["done"], one.get("asked", SLOTS)) == ("agenda_unknown", True, SLOTS), name
