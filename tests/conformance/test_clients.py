"""Clients that exist, unchanged, under Node, against a real server: they follow an agenda and leave cleanly."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.login import bearer
from tests.following import Ward
from tests.serving import Serving

CLIENTS = Path(__file__).parent / "clients"
NAMES = {"graphql-ws", "graphql-sse", "@urql/core over graphql-ws", "@urql/core over event streams"}
SLOTS = 20
CLIENTS_TIMEOUT_S = 120


@pytest.mark.long
def test_published_clients_follow_an_agenda(tmp_path: Path) -> None:
    shutil.copytree(CLIENTS, tmp_path / "clients", ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=tmp_path / "clients", check=True, capture_output=True)
    serving = Serving("--data-dir", str(tmp_path / "city"))
    try:
        ward = Ward(serving.url())
        agenda = ward.publish(slots=SLOTS)
        ran = subprocess.run(
            ["node", "follow.mjs", f"{serving.url()}/graphql", agenda, ward.ana],
            cwd=tmp_path / "clients", check=False, capture_output=True, text=True, timeout=CLIENTS_TIMEOUT_S,
            env={**os.environ, "IGOB_TOKEN": bearer().removeprefix("Bearer ")},
        )  # fmt: skip
    finally:
        serving.stop()
    assert ran.returncode == 0, ran.stderr  # it ended by itself: nobody held on to a connection
    found = json.loads(ran.stdout)
    assert set(found) == NAMES
    for name, one in found.items():
        assert [told["agenda"]["freeSlots"] for told in one["told"]] == [SLOTS, SLOTS - 1, SLOTS], name
        assert one["told"][0]["previous"] is None
        assert [told["previous"] for told in one["told"][1:]] == [told["position"] for told in one["told"][:-1]], name
        assert (one["refused"], one["done"], one.get("asked", SLOTS)) == ("agenda_unknown", True, SLOTS), name
