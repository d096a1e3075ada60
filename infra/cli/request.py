"""`igob request`."""

import re
import sys
from pathlib import Path
from typing import Any

from infra.cli.console import DataDir
from infra.cli.messages import plain_errors, say, settings_of
from infra.cli.tokens import Hospitals, Identity, Roles, ServicePoints, login_of, signed
from infra.running.settings import SettingError, Settings

TIMEOUT_S = 60  # longer than the server takes for any request
TOKEN_HOURS = 1
NUMBERS = ("Int", "Float", "Boolean")
DECLARATION = re.compile(r"\$(\w+)\s*:\s*(\[|\w+)")  # a variable and its type, or [ for a list
COMMENT = re.compile(r"#.*")


def request(
    document: Path,
    /,
    *variables: str,
    role: Roles = None,
    identity: Identity = "",
    hospital: Hospitals = None,
    service_point: ServicePoints = None,
    token: str = "",
    only: str = "",
    url: str = "",
    data_dir: DataDir = None,
) -> None:
    """Send a GraphQL document to a server, and print the `data` of its response.

    Without a role, an identity or a token the request is anonymous. The exit status is 1 if the response has `errors`.

    Parameters
    ----------
    document:
        A file with one operation.
    variables:
        NAME=VALUE for each variable. Values of Int, Float and Boolean, and those that begin with { or [, are JSON.
    token:
        A token, instead of a login.
    only:
        Print only the value at this path, such as viewer.person.id or hospitals.nodes.0.name.
    url:
        The server's address. By default, that of the server that uses the data folder.
    """
    with plain_errors():
        settings = settings_of(data_dir)
        if not token and (role or identity):
            login = login_of(role, identity, hospital, service_point, subject=identity or "-".join(role or ()))
            token = signed(login, settings, TOKEN_HOURS)
        text = document.read_text(encoding="utf-8")
        body = {"query": text, "variables": values_of(text, variables)}
        _print(_sent(url or _address(settings), body, token), only)


def values_of(text: str, variables: tuple[str, ...]) -> dict[str, Any]:
    """The variables of NAME=VALUE, each as the document declares it. Raises SettingError.

    Parsing the document would take longer than the rest of the command; the server does that anyway.
    """
    declared = dict(DECLARATION.findall(COMMENT.sub("", text)))
    values = {}
    for variable in variables:
        name, equals, value = variable.partition("=")
        if not equals or name not in declared:
            known = ", ".join(declared) or "none"
            raise SettingError(f"{variable} sets no variable of the document: give NAME=VALUE, for one of: {known}")
        values[name] = _value(name, value, declared[name])
    return values


def _value(name: str, value: str, kind: str) -> Any:
    import json

    if kind not in NUMBERS and not value.startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise SettingError(f"{name}={value} is not JSON, as the type {kind} needs") from None


def _address(settings: Settings) -> str:
    from infra.running.address import kept_address

    if address := kept_address(settings.data_dir):
        return address
    raise SettingError(f"no server uses {settings.data_dir}: start one with `make serve`, or name one with --url")


def _sent(url: str, body: dict[str, Any], token: str) -> dict[str, Any]:
    """The response. Raises SettingError if there is none."""
    import json
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    if not url.startswith(("http://", "https://")):
        raise SettingError(f"{url} is not an address such as http://127.0.0.1:8000")
    headers = {"Content-Type": "application/json", "Accept-Language": _language()}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    address = f"{url.rstrip('/').removesuffix('/graphql')}/graphql"
    request = Request(address, json.dumps(body).encode(), headers)  # noqa: S310 (the scheme is checked above)
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            response = json.load(answer)
    except HTTPError as error:
        response = _json_of(error)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise SettingError(f"no GraphQL server answers at {url} ({reason}): see --url, or start one") from None
    if not isinstance(response, dict):
        raise SettingError(f"{address} does not answer as a GraphQL server")
    return response


def _json_of(error: Any) -> Any:
    import json

    try:
        return json.load(error)
    except ValueError:
        return None


def _language() -> str:
    """Spanish or English, by the environment's locale."""
    import os

    locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "es" if locale.startswith("es") else "en"


def _print(response: dict[str, Any], only: str) -> None:
    """Print the data, or what `only` names of it. Exits with status 1 after errors, or if that is not there."""
    import json

    data = response.get("data")
    if only:
        found = _at(data, only)
        if found is None:
            say(json.dumps(response, indent=2, ensure_ascii=False))
            raise SettingError(f"the response has no {only}")
        sys.stdout.write((found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)) + "\n")
    elif data is not None:
        sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    errors = response.get("errors") or []
    for error in errors:
        places = [f"line {place['line']}, column {place['column']}: " for place in error.get("locations") or ()]
        say(f"igob: {''.join(places[:1])}{error.get('message')}")
    if errors:
        sys.exit(1)


def _at(data: Any, path: str) -> Any:
    """The value at a path of names and indices; None if there is none."""
    for name in path.split("."):
        if isinstance(data, list):
            data = data[int(name)] if name.isdecimal() and int(name) < len(data) else None
        else:
            data = data.get(name) if isinstance(data, dict) else None
    return data
