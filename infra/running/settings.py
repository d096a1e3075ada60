"""The settings, typed, read from the environment. docs/operations.md lists them for people."""

import os
import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

PREFIX = "IGOB_"
EVERY_ORIGIN = "*"
DEFAULT_PORTS = {"http": 80, "https": 443}
APP_SCHEMES = ("capacitor", "ionic")  # of pages inside phone apps
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
# Asymmetric ones only: a key that verifies tokens must not be able to make them.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")


# By field: the minimum, the maximum and the unit.
RANGES = {
    "hold_s": (1, 3_600, "seconds"),
    "queue_max": (1, 1_000_000, "commands"),
    "requests_per_s": (0, 1_000_000, "requests a second"),
    "anonymous_per_s": (0, 1_000_000, "requests a second"),
    "cache_mib": (0, 65_536, "MiB"),
}
CLAIM = r"[\w:/-]+(\.[\w:/-]+)*"
# By field: a regular expression, and its description.
FORMS = {
    # PostgreSQL reserves pg_ and information_schema; read models are in <schema>_views.
    "schema": (
        "(?!pg_|information_schema$)(?!.*_views$)[a-z_][a-z0-9_]{0,30}",
        "lower-case letters, digits and _, and not begin with pg_ nor end with _views",
    ),
    "secret": ("([0-9a-f]{64})?", "64 hexadecimal digits"),
    "oidc_audience": (r"[!-~]{1,255}", "a name without blanks"),
    "oidc_roles_claim": (CLAIM, "the name of a claim"),
    "oidc_identity_claim": (CLAIM, "the name of a claim"),
    "client_address_header": ("[A-Za-z0-9-]{0,100}", "the name of a header"),
}


class SettingError(Exception):
    """A setting is invalid; the message names it and describes a valid value."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Field `name` is read from the variable IGOB_NAME.

    Attributes:
        database_url: libpq URL of the application's role; "" = the embedded database in `data_dir`.
        database_owner_url: libpq URL of the role that migrates; only used with `database_url`.
        data_dir: the embedded database's folder, which also holds the secret when `secret` is "".
        schema: the municipality's PostgreSQL schema; each has its own log.
        secret: 64 hexadecimal digits; derives ids, hashes identity numbers, wraps personal keys. Losing it loses those.
        hold_s: how long a hold keeps a slot, in seconds.
        oidc_issuer: the OpenID Connect provider whose tokens are accepted; "" = tokens of this installation's
            development key, on loopback only.
        oidc_audience: the audience that tokens must have.
        oidc_jwks_url: the URL of the provider's keys; "" = from its configuration.
        oidc_algorithms: the allowed signature algorithms, separated by commas.
        oidc_roles_claim: the claim with a person's roles; dots lead into objects.
        oidc_identity_claim: the claim with a citizen's identity number, likewise.
        queue_max: the maximum number of waiting commands in a process; more are refused as overloaded.
        trusted_documents: a folder of `.graphql` files, or a JSON file that maps digests to documents; "" = none.
        trusted_only: whether only these documents are executed.
        introspection: whether clients may query the schema.
        log_requests: whether each request is logged.
        traces: whether spans are exported, even if no endpoint for them is set.
        metrics_local: whether only this machine may read the metrics.
        requests_per_s: the long-run rate limit of an actor in a process; 0 = no limit.
        anonymous_per_s: the limit for requests without a token, by address, likewise.
        allowed_origins: origins whose pages may send requests, besides those of the host itself, separated by
            commas; or "*" for all.
        client_address_header: the header in which a trusted proxy gives a client's address; "" = use the peer's.
        cache_mib: the size of a process's cache of streams, in MiB of their events in the log; it takes three times as
            much memory. An agenda of 40 slots with its bookings takes 8 KiB.
    """

    database_url: str = ""
    database_owner_url: str = ""
    data_dir: Path = Path(".igob")
    schema: str = "la_paz"
    secret: str = ""
    hold_s: int = 300
    oidc_issuer: str = ""
    oidc_audience: str = "igob"
    oidc_jwks_url: str = ""
    oidc_algorithms: str = "RS256,ES256"
    oidc_roles_claim: str = "roles"
    oidc_identity_claim: str = "identity_number"
    queue_max: int = 10_000
    cache_mib: int = 128
    trusted_documents: str = ""
    trusted_only: bool = False
    introspection: bool = True
    log_requests: bool = False
    traces: bool = False
    metrics_local: bool = True
    requests_per_s: int = 50
    anonymous_per_s: int = 100
    allowed_origins: str = ""
    client_address_header: str = ""

    def __post_init__(self) -> None:
        """Raise SettingError for the first setting that can't be used."""
        for field, what in _faults(self):
            raise SettingError(f"{PREFIX}{field.upper()} must be {what}")

    @property
    def algorithms(self) -> tuple[str, ...]:
        """`oidc_algorithms` as a tuple."""
        return tuple(name.strip() for name in self.oidc_algorithms.split(","))

    @property
    def explorable(self) -> bool:
        """Whether anybody may read the schema and execute any document."""
        return self.introspection and not self.trusted_only

    @property
    def origins(self) -> frozenset[str]:
        """`allowed_origins` as a set."""
        return frozenset(one.strip().lower() for one in self.allowed_origins.split(",") if one.strip())


def _faults(settings: Settings) -> Iterator[tuple[str, str]]:
    """The invalid fields, and what each must be."""
    for field, (least, greatest, unit) in RANGES.items():
        if not least <= getattr(settings, field) <= greatest:
            yield field, f"{least} to {greatest} {unit}"
    for field, (form, what) in FORMS.items():
        if not re.fullmatch(form, getattr(settings, field)):
            yield field, what
    for field in ("oidc_issuer", "oidc_jwks_url"):
        if (url := getattr(settings, field)) and not is_safe_url(url):
            yield field, "an https URL"
    if settings.database_url and not _names_user(settings.database_url):
        yield "database_url", "a libpq URL that names its user: postgresql://user@host/database"
    if settings.database_owner_url and _conninfo(settings.database_owner_url) is None:
        yield "database_owner_url", "a libpq URL: postgresql://owner@host/database"
    if not set(settings.algorithms) <= set(ALGORITHMS):
        yield "oidc_algorithms", f"some of {','.join(ALGORITHMS)}"
    if settings.trusted_only and not settings.trusted_documents:
        yield "trusted_only", f"false while {PREFIX}TRUSTED_DOCUMENTS names none"
    if not all(settings.oidc_issuer if one == EVERY_ORIGIN else _is_origin(one) for one in settings.origins):
        yield (
            "allowed_origins",
            "origins as browsers say them, https://citas.example.bo,https://turnos.example.bo,"
            f" or, where {PREFIX}OIDC_ISSUER is set, * for all",
        )


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises SettingError for a value that can't be one."""
    given = {}
    for field in msgspec.structs.fields(Settings):
        variable = PREFIX + field.name.upper()
        if value := environment.get(variable):
            try:
                given[field.name] = msgspec.convert(
                    value, field.type, strict=False, dec_hook=lambda kind, text: kind(text)
                )
            except msgspec.ValidationError as error:
                raise SettingError(f"{variable}: {error}") from None
    return Settings(**given)


def _conninfo(text: str) -> dict[str, Any] | None:
    """The parameters of a libpq connection string; None if it is not one."""
    from psycopg import Error  # noqa: PLC0415 (it is slow to import, and `igob --help` shall be quick)
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        return conninfo_to_dict(text)
    except (Error, ValueError):  # its message would quote the text, which may hold a password
        return None


def _names_user(url: str) -> bool:
    return bool((_conninfo(url) or {}).get("user"))


def _is_origin(text: str) -> bool:
    """Whether this is an origin of a page that can't be changed in transit: https, this machine, or an app."""
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname or ""
        if ":" in host:
            host = f"[{IPv6Address(host)}]"
    except ValueError:
        return False
    shown = "" if port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{port}"
    named = host.startswith("[") or re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", host)
    return (
        bool(named) and text == f"{parts.scheme}://{host}{shown}" and (parts.scheme in APP_SCHEMES or is_safe_url(text))
    )


def is_safe_url(url: str) -> bool:
    """Whether data from this URL can't be changed in transit: https, or this machine."""
    try:
        parts = urlsplit(url)
        return (parts.scheme == "https" and bool(parts.hostname)) or (
            parts.scheme == "http" and is_loopback(parts.hostname or "")
        )
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there, by a name that the API answers to."""
    return host in LOOPBACK_HOSTS
