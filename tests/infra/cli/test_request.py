"""`igob request`: variables, what is printed, and what goes wrong. Against a server: tests/faults/test_readme.py."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.login import SECRET
from infra.cli.request import values_of
from infra.running.address import address_kept, kept_address
from infra.running.settings import SettingError
from tests.serving import igob_here

DOCUMENT = "# $c: Int\nquery ($t: String!, $d: Date, $n: Int!, $l: [Int!]!, $i: SomeInput) { a }"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("t=12", "12"),
        ("t=", ""),
        ("t=a=b c", "a=b c"),
        ("d=2026-12-01", "2026-12-01"),
        ("n=12", 12),
        ("n=null", None),
        ("l=[1, 2]", [1, 2]),
        ('i={"a": "b"}', {"a": "b"}),
    ],
)
def test_a_value_has_the_type_that_the_document_declares(variable: str, value: Any) -> None:
    assert values_of(DOCUMENT, (variable,)) == {variable[0]: value}


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("x=1", "for one of: t, d, n, l, i"),
        ("t", "give NAME=VALUE"),
        ("n=one", "n=one is not JSON, as the type Int needs"),
        ("i={a}", "is not JSON"),
    ],
)
def test_a_wrong_variable_is_explained(variable: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        values_of(DOCUMENT, (variable,))


class Answering(BaseHTTPRequestHandler):
    """Answers with what its server has been given, and keeps the request."""

    server: "Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((dict(self.headers), json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_: Any) -> None: ...


class Server(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.status, self.answer = 200, b"{}"
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.fixture
def document(tmp_path: Path) -> str:
    file = tmp_path / "one.graphql"
    file.write_text("query ($n: Int) { a(n: $n) { b } }", encoding="utf-8")
    return str(file)


def test_data_is_printed_and_only_what_is_wanted(server: Server, document: str) -> None:
    server.answer = '{"data": {"a": [{"b": "é"}, {"b": {"c": 1}}]}, "extensions": {}}'.encode()
    printed = igob_here("request", document, "n=1", "--url", server.url)
    assert json.loads(printed.stdout) == {"a": [{"b": "é"}, {"b": {"c": 1}}]}
    for path, text in (("a.0.b", "é\n"), ("a.1.b", '{"c": 1}\n')):
        assert igob_here("request", document, "--url", server.url, "--only", path).stdout == text
    for path in ("a.2.b", "a.b", "x"):
        missing = igob_here("request", document, "--url", server.url, "--only", path)
        assert (missing.returncode, missing.stdout) == (1, "")
        assert missing.stderr.endswith(f"igob: the response has no {path}\n")
    assert server.requests[0][1] == {"query": "query ($n: Int) { a(n: $n) { b } }", "variables": {"n": 1}}


def test_errors_are_printed_and_are_the_exit_status(server: Server, document: str) -> None:
    server.status, server.answer = (
        400,
        b'{"errors": [{"message": "a"}, {"message": "b", "locations": [{"line": 2, "column": 5}]}]}',
    )
    refused = igob_here("request", document, "--url", f"{server.url}/graphql")
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", "igob: a\nigob: line 2, column 5: b\n")


def test_a_login_is_sent_as_a_token_and_the_locale_as_the_language(server: Server, document: str) -> None:
    for arguments, settings, token, language in (
        ([], {"LC_ALL": "es_BO.UTF-8"}, None, "es"),
        (["--token", "abc"], {"LC_ALL": "", "LC_MESSAGES": "", "LANG": "C"}, "Bearer abc", "en"),
    ):
        igob_here("request", document, "--url", server.url, *arguments, **settings)
        headers = server.requests[-1][0]
        assert (headers.get("Authorization"), headers["Accept-Language"]) == (token, language)
    for login in (["--identity", "4820193"], ["--role", "developer"]):
        igob_here("request", document, "--url", server.url, *login, IGOB_SECRET=SECRET)
        assert server.requests[-1][0]["Authorization"].startswith("Bearer ey")
    wrong = igob_here("request", document, "--url", server.url, "--role", "emperor")
    assert "there is no role emperor" in wrong.stderr


def test_what_can_not_be_sent_is_explained_in_a_line(server: Server, document: str, tmp_path: Path) -> None:
    server.answer = b"hello"
    for arguments, message in (
        (["nothing.graphql"], "No such file"),
        ([document, "--url", "127.0.0.1:8000"], "127.0.0.1:8000 is not an address such as http://127.0.0.1:8000"),
        ([document, "--url", "http://127.0.0.1:9"], "no GraphQL server answers at http://127.0.0.1:9 "),
        ([document, "--url", server.url], f"no GraphQL server answers at {server.url}"),
        ([document], "no server uses"),
    ):
        refused = igob_here("request", *arguments, IGOB_DATA_DIR=str(tmp_path))
        assert refused.returncode == 1
        assert refused.stderr.startswith("igob: ")
        assert refused.stderr.count("\n") == 1
        assert message in refused.stderr


def test_the_address_is_kept_while_the_server_runs(tmp_path: Path) -> None:
    assert kept_address(tmp_path) == ""
    with address_kept(tmp_path, "http://127.0.0.1:1"):
        assert kept_address(tmp_path) == "http://127.0.0.1:1"
        with address_kept(tmp_path, "http://127.0.0.1:2"):
            assert kept_address(tmp_path) == "http://127.0.0.1:2"
        assert kept_address(tmp_path) == ""
    with address_kept(tmp_path / "none", "http://127.0.0.1:1"):
        assert not (tmp_path / "none").exists()
