"""The independent audits of GraphQL over HTTP: the npm package `graphql-http`, under Node, against a real server."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serving import Serving

AUDITS = Path(__file__).parent / "graphql_http"
AUDITS_MIN = 61  # as many as the pinned version has


@pytest.mark.long
def test_the_endpoint_passes_every_audit(tmp_path: Path) -> None:
    """Each MUST, SHOULD and MAY."""
    shutil.copytree(AUDITS, tmp_path / "audits")
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=tmp_path / "audits", check=True, capture_output=True)
    serving = Serving("--data-dir", str(tmp_path / "city"))
    try:
        output = subprocess.run(
            ["node", "audit.mjs", f"{serving.url()}/graphql"],
            cwd=tmp_path / "audits", check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
    finally:
        serving.stop()
    found = json.loads(output)
    assert len(found) >= AUDITS_MIN
    assert [audit for audit in found if audit["status"] != "ok"] == []
