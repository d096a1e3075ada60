"""Apollo Client and urql fall back from persisted queries to documents, and use trusted ones by their digest."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from api.graphql.engine.trusted import document_id
from tests.clusters import prepare
from tests.serving import Serving

PROGRAM = Path(__file__).parent / "persisted_queries"
TRUSTED = "query Trusted { __typename }"
DATA = {"__typename": "Query"}
TIMEOUT_S = 60


@pytest.mark.long
def test_clients_fall_back_from_persisted_queries(tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copytree(PROGRAM, program, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=program, check=True, capture_output=True)
    digest = document_id(TRUSTED).removeprefix("sha256:")
    (tmp_path / "trusted.json").write_text(json.dumps({digest: TRUSTED}))
    settings = {"IGOB_TRUSTED_DOCUMENTS": str(tmp_path / "trusted.json")}
    serving = Serving("--data-dir", str(prepare(tmp_path / "city")), settings=settings)
    try:
        ran = subprocess.run(
            ["node", "persisted.mjs", f"{serving.url()}/graphql", TRUSTED, digest],
            cwd=program, check=False, capture_output=True, text=True, timeout=TIMEOUT_S,
        )  # fmt: skip
    finally:
        serving.stop()
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert set(found) == {f"{client} by {method}" for client in ("Apollo Client", "urql") for method in ("GET", "POST")}
    for name, one in found.items():
        assert one["data"] == [DATA] * 3, name
        assert [(sent["document"], sent["status"]) for sent in one["sent"]] == [
            (False, 200),  # the trusted document, by its digest
            (False, 400),  # an unknown digest
            (True, 200),  # the same request with the document
            (True, 200),  # from now on without digests
        ], name
        assert [sent["method"] for sent in one["sent"][:2]] == [name.rpartition(" ")[2]] * 2
