"""The keys that verify tokens: those of an OpenID Connect provider, or the development key."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from infra.running.logging import log_failure
from infra.running.secret import Secret
from infra.running.settings import PREFIX, SettingError, Settings, is_safe_url

if TYPE_CHECKING:
    import httpx

DEVELOPMENT_KEY_ID = "development"
DEVELOPMENT_ISSUER = "igob-development"
DEVELOPMENT_ALGORITHMS = ("Ed25519",)
REFRESH_EVERY_S = 600
RETRY_S = 5  # while there are no keys yet
LOOK_AGAIN_MIN_S = 10  # because anybody can send tokens that name unknown keys
KEPT_MAX_S = 24 * 3_600  # while the provider does not answer: it may be gone for good, and can't withdraw keys
FETCH_TIMEOUT_S = 5
FETCH_BYTES_MAX = 256 * 1024
KEYS_MAX = 50
KEY_KINDS = ("RSA", "EC", "OKP")  # a symmetric ("oct") key that verifies tokens can also make them


class WrongKeys(Exception):
    """The provider's answer has no usable configuration or keys."""


class Keys(Protocol):
    """A source of keys. `generation` grows when a key is withdrawn.

    `now` is None while the keys are unknown, and empty if the provider has none: then no token is valid.
    """

    issuer: str
    algorithms: tuple[str, ...]
    development: bool
    generation: int
    now: KeySet | None

    async def look_again(self) -> None:
        """Fetch new keys, unless that was done just now."""
        ...


def development_key(secret: Secret) -> OKPKey:
    """The private development key of this installation. With it, one can act as anybody, on this machine only."""
    seed = secret.development_seed()
    return OKPKey.derive_key(seed, "Ed25519", {"kid": DEVELOPMENT_KEY_ID})


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """The login of a development token: see `Actor` in api/access/identity.py."""

    subject: str = "developer"
    roles: Sequence[str] = ()
    identity: str = ""
    hospitals: Sequence[str] = ()
    service_points: Sequence[str] = ()
    client: str = "-"


def development_token(secret: Secret, settings: Settings, login: Login, *, begin: datetime, lasts: timedelta) -> str:
    """A token like a provider's. Raises SettingError if a provider is set, because only it signs tokens then."""
    if settings.oidc_issuer:
        raise SettingError(f"{settings.oidc_issuer} signs the tokens here ({PREFIX}OIDC_ISSUER)")
    claims = {
        "iss": DEVELOPMENT_ISSUER,
        "aud": settings.oidc_audience,
        "sub": login.subject,
        "azp": login.client,
        "iat": int(begin.timestamp()),
        "exp": int((begin + lasts).timestamp()),
        settings.oidc_roles_claim: list(login.roles),
        settings.oidc_identity_claim: login.identity,
        "hospital": list(login.hospitals),
        "service_point": list(login.service_points),
    }
    header = {"alg": DEVELOPMENT_ALGORITHMS[0], "kid": DEVELOPMENT_KEY_ID}
    return jwt.encode(header, claims, development_key(secret), algorithms=[*DEVELOPMENT_ALGORITHMS])


class DevelopmentKeys:
    """The development key as the only key."""

    issuer = DEVELOPMENT_ISSUER
    algorithms: tuple[str, ...] = DEVELOPMENT_ALGORITHMS
    development = True
    generation = 0

    def __init__(self, secret: Secret) -> None:
        public = development_key(secret).as_dict(private=False)
        self.now: KeySet | None = KeySet([OKPKey.import_key(public)])

    async def look_again(self) -> None:
        return


class ProviderKeys:
    """The keys of an OpenID Connect provider, fetched every REFRESH_EVERY_S, and when a token names an unknown one.

    While the provider does not answer, its last keys stay valid, for at most KEPT_MAX_S.
    """

    development = False

    def __init__(self, settings: Settings, http: "httpx.AsyncClient") -> None:
        self.issuer = settings.oidc_issuer
        self.algorithms = settings.algorithms
        self.generation = 0
        self.now: KeySet | None = None
        self._url = settings.oidc_jwks_url
        self._http = http
        self._asked_at_s = self._answered_at_s = float("-inf")
        self._asking = asyncio.Lock()

    async def keep(self) -> None:
        """Fetch the keys periodically, until cancelled."""
        while True:
            await self.look_again()
            await asyncio.sleep(RETRY_S if self.now is None else REFRESH_EVERY_S)

    async def look_again(self) -> None:
        wanted_at_s = time.monotonic()
        async with self._asking:
            # A fetch that began after this call, or just before, is recent enough.
            recent = self._asked_at_s > wanted_at_s or wanted_at_s - self._asked_at_s < LOOK_AGAIN_MIN_S
            if recent and self.now is not None:
                return
            self._asked_at_s = time.monotonic()
            try:
                self._replace(await self._fetch_keys())
            except Exception as error:  # whatever the error, try again later
                log_failure("the keys of the identity provider can't be fetched", error)
                self._drop_old()

    def _replace(self, found: KeySet) -> None:
        kept = {_print(key) for key in found.keys}
        if self.now and not {_print(key) for key in self.now.keys} <= kept:
            self.generation += 1
        self.now, self._answered_at_s = found, time.monotonic()
        if not found:
            log_failure("the identity provider has no key that verifies signatures: no token is valid", WrongKeys())

    def _drop_old(self) -> None:
        if self.now is not None and time.monotonic() - self._answered_at_s > KEPT_MAX_S:
            self.now = None
            self.generation += 1

    async def _fetch_keys(self) -> KeySet:
        url = self._url or await self._discovered()
        return public_keys(await self._fetch(url))

    async def _discovered(self) -> str:
        configuration = await self._fetch(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        if configuration.get("issuer") != self.issuer:
            raise WrongKeys("the provider calls itself by another name")
        url = configuration.get("jwks_uri")
        if not isinstance(url, str) or not is_safe_url(url):
            raise WrongKeys("the provider names no place of its keys that can be trusted")
        return url

    async def _fetch(self, url: str) -> dict[str, Any]:
        body = bytearray()
        async with asyncio.timeout(FETCH_TIMEOUT_S), self._http.stream("GET", url, follow_redirects=False) as answer:
            if answer.status_code != HTTPStatus.OK:
                raise WrongKeys(f"it answers {answer.status_code}")
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > FETCH_BYTES_MAX:
                    raise WrongKeys("it answers too much")
        try:
            return msgspec.json.decode(bytes(body), type=dict[str, Any])
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise WrongKeys("it does not answer an object in JSON") from None


def public_keys(document: Mapping[str, Any]) -> KeySet:
    """The keys of a key set that verify signatures. Raises WrongKeys if it is no key set."""
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise WrongKeys("it answers no set of keys")
    found = []
    for key in keys[:KEYS_MAX]:
        if isinstance(key, dict) and key.get("kty") in KEY_KINDS and key.get("use", "sig") == "sig" and "d" not in key:
            with suppress(Exception):  # of an unknown kind, or malformed: the others may be valid
                found += KeySet.import_key_set({"keys": [key]}).keys
    return KeySet(found)


def _print(key: Any) -> tuple[str | None, str]:
    """The id and the thumbprint of a key, to compare keys."""
    return key.kid, key.thumbprint()


@asynccontextmanager
async def keys_of(settings: Settings, secret: Secret) -> AsyncIterator[Keys]:
    """The keys of the settings, kept up to date until the block ends."""
    if not settings.oidc_issuer:
        yield DevelopmentKeys(secret)
        return
    import httpx  # noqa: PLC0415 (slow to import, and only with a provider is it needed)

    async with httpx.AsyncClient(timeout=FETCH_TIMEOUT_S) as http:
        keys = ProviderKeys(settings, http)
        await keys.look_again()
        keeping = asyncio.create_task(keys.keep())
        try:
            yield keys
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})
