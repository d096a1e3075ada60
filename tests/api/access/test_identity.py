"""Tokens: the good ones name an actor, the others are turned away, and nothing is written for them."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, OctKey, OKPKey

from api.access.identity import (
    ANONYMOUS,
    SKEW_S,
    TOKEN_LENGTH_MAX,
    TOKENS_MAX,
    Actor,
    Identities,
    KeysUnknown,
    WrongToken,
)
from api.app import Application
from api.graphql.context import Services
from infra.gateways import keys as keys_module
from infra.gateways.keys import (
    DevelopmentKeys,
    Keys,
    Login,
    ProviderKeys,
    WrongKeys,
    development_token,
    keys_of,
    public_keys,
)
from infra.log.core import Core
from infra.postgres.views import Views
from infra.running.secret import Secret
from infra.running.settings import SettingError, Settings
from tests.api.conftest import Client
from tests.api.provider import Provider, SigningKey, provider, rsa_key
from tests.conftest import Clock

pytestmark = pytest.mark.anyio

HOUR_S = 3_600
REGISTER = (
    """mutation { registerHospital(input: {idempotencyKey: "k", hospital: "h", name: "H"}) { errors { code } } }"""
)


@pytest.fixture
def city_provider() -> Iterator[Provider]:
    with provider() as one:
        yield one


@pytest.fixture
def settings(city_provider: Provider) -> Settings:
    return Settings(oidc_issuer=city_provider.url)


@pytest.fixture
async def keys(settings: Settings, core: Core) -> AsyncIterator[Keys]:
    async with keys_of(settings, core.secret) as keys:
        yield keys


@pytest.fixture
async def http(
    core: Core, views: Views, clock: Clock, settings: Settings, keys: Keys
) -> AsyncIterator[httpx.AsyncClient]:
    """A stranger far away: with a provider, everybody is served."""
    app = Application(settings, Services(core=core, views=views, settings=settings, now=clock, keys=keys))
    transport = httpx.ASGITransport(app=app, client=("203.0.113.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="https://core.example") as http:
        yield http


@pytest.fixture
def token(city_provider: Provider, clock: Clock) -> Callable[..., str]:
    """A good one of an administrator's by the test's clock, but for what is told."""

    def make(key: SigningKey | None = None, **claims: Any) -> str:
        times = {"iat": int(clock().timestamp()), "exp": int(clock().timestamp()) + HOUR_S}
        return city_provider.token(key, **times | {"roles": ["administrator"]} | claims)

    return make


async def ask(http: httpx.AsyncClient, token: str | None, query: str = REGISTER) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    return await http.post("/graphql", json={"query": query}, headers=headers)


def encoded(*parts: dict[str, Any]) -> str:
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def with_hmac(claims: dict[str, Any], key: bytes) -> str:
    """As who takes the public key for a secret would make it; the library refuses to."""
    signed = encoded({"alg": "HS256", "kid": "first"}, claims)
    digest = hmac.digest(key, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


async def test_a_valid_token_is_accepted(http: httpx.AsyncClient, token: Callable[..., str]) -> None:
    answer = await ask(http, token())
    assert (answer.status_code, answer.json()["data"]["registerHospital"]["errors"]) == (200, [])


def bad_tokens(token: Callable[..., str], one: Provider, clock: Clock) -> dict[str, str]:
    now = int(clock().timestamp())
    stranger = rsa_key("first", which=2)
    pem = one.rsa.raw_value.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[union-attr]
    good = token()
    claims = {"iss": one.url, "aud": "igob", "sub": "ana", "exp": now + HOUR_S, "roles": ["administrator"]}
    head, said, signature = good.split(".")
    return {
        "expired": token(exp=now - SKEW_S),
        "of the future": token(nbf=now + SKEW_S + 1),
        "made in the future": token(iat=now + SKEW_S + 1),
        "without an end": token(exp=None),
        "with an end that is none": token(exp="tomorrow"),
        "with an end beyond all time": token(exp=1e300),
        "of another issuer": token(iss="https://elsewhere.example"),
        "without an issuer": token(iss=None),
        "for another audience": token(aud="bank"),
        "for others": token(aud=["bank", "shop"]),
        "without an audience": token(aud=None),
        "of nobody": token(sub=None),
        "of nobody in particular": token(sub=""),
        "of somebody with a line break": token(sub="ana\nluis"),
        "of a number": token(sub=7),
        "that ends a session": token(header={"typ": "logout+jwt"}),
        "of a type that is none": token(header={"typ": ""}),
        "that tells a program who somebody is": token(typ="ID"),
        "that is there to get others by": token(typ="Refresh"),
        "signed by nobody": encoded({"alg": "none"}, claims) + ".",
        "signed with the public key": with_hmac(claims, pem),
        "signed with a stranger's key": token(stranger),
        "signed with a key that nobody knows": token(rsa_key("nobody's")),
        "signed by an algorithm that is not taken": token(algorithm="RS512"),
        "whose claims were changed": f"{head}.{said[:-2]}AA.{signature}",
        "whose signature was cut off": f"{head}.{said}.",
        "that is none": "abc",
        "that is none either": "a.b.c",
        "that is too long": good + "A" * TOKEN_LENGTH_MAX,
        "that is nested": "W" * 3_000 + ".e30.e30",
        "of the development key": development_token(
            Secret(bytes(32)), Settings(), Login(roles=["developer"]), begin=clock(), lasts=timedelta(hours=1)
        ),
    }


@pytest.mark.parametrize("what", list(bad_tokens(lambda *_, **__: "a.b.c", Provider("http://x"), Clock())))
async def test_an_invalid_token_is_refused_and_nothing_written(  # noqa: PLR0917
    http: httpx.AsyncClient, token: Callable[..., str], city_provider: Provider, clock: Clock, core: Core, what: str
) -> None:
    bad = bad_tokens(token, city_provider, clock)[what]
    for query in (REGISTER, "{ hospitals(first: 1) { nodes { id } } }"):
        answer = await ask(http, bad, query)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert answer.json()["errors"][0]["extensions"] == {"code": "token_invalid"}
        assert "data" not in answer.json()
    assert await core.log.head() == 0


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "Token abc"])
async def test_another_authorization_scheme_is_refused(http: httpx.AsyncClient, header: str) -> None:
    answer = await http.post("/graphql", json={"query": "{ __typename }"}, headers={"authorization": header})
    assert answer.status_code == (401 if header else 200)


async def test_clocks_may_differ_slightly(http: httpx.AsyncClient, token: Callable[..., str], clock: Clock) -> None:
    now = int(clock().timestamp())
    for claims in ({"exp": now - SKEW_S + 1}, {"nbf": now + SKEW_S}, {"iat": now + SKEW_S}):
        assert (await ask(http, token(**claims))).status_code == 200


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", None])
async def test_the_typ_header_is_accepted(http: httpx.AsyncClient, token: Callable[..., str], typ: str) -> None:
    one = token(header={"typ": typ} if typ else {}, typ="Bearer")
    assert (await ask(http, one)).status_code == 200


async def test_a_long_header_is_accepted(http: httpx.AsyncClient, token: Callable[..., str]) -> None:
    assert (await ask(http, token(header={"x5c": ["A" * 4_000]}))).status_code == 200


async def test_an_expiry_at_the_end_of_time_is_accepted(http: httpx.AsyncClient, token: Callable[..., str]) -> None:
    one = token(exp=253_402_300_799)
    assert [(await ask(http, one)).status_code for _ in range(3)] == [200] * 3


async def test_a_cached_token_expires(http: httpx.AsyncClient, token: Callable[..., str], clock: Clock) -> None:
    one = token(exp=int(clock().timestamp()) + 10)
    assert (await ask(http, one)).status_code == 200
    clock.wait(10 + SKEW_S)
    assert (await ask(http, one)).status_code == 401


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (lambda: ECKey.generate_key("P-256", {"kid": "ec"}), "ES256"),
        (lambda: OKPKey.generate_key("Ed25519", {"kid": "ed"}), "Ed25519"),
        (lambda: rsa_key("ps"), "PS256"),
    ],
)
async def test_other_algorithms_are_a_setting(  # noqa: PLR0917
    core: Core, clock: Clock, token: Callable[..., str], city_provider: Provider, key: Callable[[], SigningKey],
    algorithm: str,
) -> None:  # fmt: skip
    city_provider.keys = [key()]
    one = token(city_provider.keys[0], algorithm=algorithm)
    for taken in ("RS256", f"RS256,{algorithm}"):
        settings = Settings(oidc_issuer=city_provider.url, oidc_algorithms=taken)
        async with keys_of(settings, core.secret) as keys:
            identities = Identities(keys, settings, core.secret, clock)
            if algorithm in taken:
                assert (await identities.actor(f"Bearer {one}".encode())).subject == "ana"
            else:
                with pytest.raises(WrongToken):
                    await identities.actor(f"Bearer {one}".encode())


async def test_a_new_key_is_looked_up_when_a_token_names_it(
    http: httpx.AsyncClient, token: Callable[..., str], city_provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "LOOK_AGAIN_MIN_S", 0)
    assert (await ask(http, token())).status_code == 200
    new = rsa_key("second")
    city_provider.keys.append(new)
    assert (await ask(http, token(new))).status_code == 200
    assert (await ask(http, token())).status_code == 200  # the former one is there still


async def test_a_withdrawn_key_is_invalid(
    http: httpx.AsyncClient, token: Callable[..., str], city_provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "LOOK_AGAIN_MIN_S", 0)
    stolen = token()
    assert (await ask(http, stolen)).status_code == 200
    city_provider.keys = [rsa_key("second")]
    assert (await ask(http, token(city_provider.keys[0]))).status_code == 200  # by which the new keys are learned
    assert (await ask(http, stolen)).status_code == 401


@pytest.mark.parametrize("key_set", [b"", b'{"keys": []}'])  # with a key of a kind that nobody knows, and with none
async def test_without_valid_keys_no_token_is_valid(  # noqa: PLR0917
    http: httpx.AsyncClient, token: Callable[..., str], city_provider: Provider, keys: Keys, key_set: bytes,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(keys_module, "LOOK_AGAIN_MIN_S", 0)
    stolen = token()
    assert (await ask(http, stolen)).status_code == 200
    city_provider.keys, city_provider.key_set = [], key_set
    await keys.look_again()
    assert (await ask(http, stolen)).status_code == 401
    assert "no token is valid" in capfd.readouterr().err
    city_provider.keys, city_provider.key_set = [rsa_key("second")], b""
    assert (await ask(http, token(city_provider.keys[0]))).status_code == 200


WHAT_NOBODY_CAN_READ: dict[str, dict[str, Any]] = {
    "half a character": {"key_set": b'{"keys": "\xff"}'},
    "lists within lists": {"key_set": b'{"keys": ' + b"[" * 100_000},
    "no list": {"key_set": b'{"keys": 7}'},
    "no object": {"key_set": b"[]"},
    "a place that is none": {"jwks_uri": "https://elsewhere.example:9x/keys"},
    "a place with a character that is none": {"jwks_uri": "https://xn--\u00e9.example/keys"},
}


@pytest.mark.parametrize("what", list(WHAT_NOBODY_CAN_READ))
async def test_an_unreadable_provider_is_asked_again(  # noqa: PLR0917
    http: httpx.AsyncClient, token: Callable[..., str], city_provider: Provider, keys: Keys, what: str,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(keys_module, "LOOK_AGAIN_MIN_S", 0)
    said = WHAT_NOBODY_CAN_READ[what]
    city_provider.key_set = said.get("key_set", b"")
    right = city_provider.configuration
    city_provider.configuration = right | {name: value for name, value in said.items() if name != "key_set"}
    await keys.look_again()
    assert "the keys of the identity provider can't be fetched" in capfd.readouterr().err
    assert ((await ask(http, token())).status_code, keys.generation) == (200, 0)
    city_provider.key_set, city_provider.configuration = b"", right
    new = rsa_key("second")
    city_provider.keys.append(new)
    assert (await ask(http, token(new))).status_code == 200


async def test_old_keys_expire_without_the_provider(  # noqa: PLR0917
    http: httpx.AsyncClient, token: Callable[..., str], city_provider: Provider, keys: Keys,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(keys_module, "LOOK_AGAIN_MIN_S", 0)
    one = token()
    assert (await ask(http, one)).status_code == 200
    city_provider.broken = True
    await keys.look_again()
    assert (await ask(http, one)).status_code == 200
    monkeypatch.setattr(keys_module, "KEPT_MAX_S", 0)
    await keys.look_again()
    assert (await ask(http, one)).status_code == 503
    city_provider.broken = False
    await keys.look_again()
    assert (await ask(http, one)).status_code == 200
    assert "can't be fetched" in capfd.readouterr().err


async def test_cached_tokens_are_checked_again_after_a_withdrawal(  # noqa: PLR0917
    core: Core, clock: Clock, settings: Settings, city_provider: Provider, keys: Keys, token: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(keys_module, "LOOK_AGAIN_MIN_S", 0)
    second = rsa_key("second")
    city_provider.keys.append(second)
    identities = Identities(keys, settings, core.secret, clock)
    actors = [await identities.actor(f"Bearer {token(key)}".encode()) for key in (None, second)]
    assert [identities.still_good(one) for one in actors] == [True, True]
    city_provider.keys = [second]
    await keys.look_again()
    for _ in range(2):
        assert [identities.still_good(one) for one in actors] == [False, True]
    clock.wait(HOUR_S + SKEW_S)
    assert not identities.still_good(actors[1])
    assert identities.still_good(ANONYMOUS)


async def test_without_keys_no_cached_token_is_valid(  # noqa: PLR0917
    core: Core, clock: Clock, settings: Settings, city_provider: Provider, keys: Keys, token: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    identities = Identities(keys, settings, core.secret, clock)
    one = await identities.actor(f"Bearer {token()}".encode())
    for name in ("LOOK_AGAIN_MIN_S", "KEPT_MAX_S"):
        monkeypatch.setattr(keys_module, name, 0)
    city_provider.broken = True
    await keys.look_again()
    assert not identities.still_good(one)
    assert "can't be fetched" in capfd.readouterr().err


async def test_unknown_keys_rarely_trigger_a_fetch(
    http: httpx.AsyncClient, token: Callable[..., str], city_provider: Provider
) -> None:
    asked = len(city_provider.asked)
    strange = token(rsa_key("nobody's"))
    answers = await asyncio.gather(*(ask(http, strange) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {401}
    assert len(city_provider.asked) <= asked + 2  # the configuration and the keys, once at most


async def test_known_keys_stay_valid_while_the_provider_is_away(  # noqa: PLR0917
    http: httpx.AsyncClient, token: Callable[..., str], city_provider: Provider, keys: Keys,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(keys_module, "LOOK_AGAIN_MIN_S", 0)
    city_provider.broken = True
    await keys.look_again()
    assert "the keys of the identity provider can't be fetched" in capfd.readouterr().err
    assert (await ask(http, token())).status_code == 200


async def test_without_a_first_answer_tokens_are_unavailable(  # noqa: PLR0917
    core: Core, views: Views, clock: Clock, settings: Settings, city_provider: Provider, token: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(keys_module, "RETRY_S", 0.05)
    city_provider.broken = True
    async with keys_of(settings, core.secret) as keys:
        app = Application(settings, Services(core=core, views=views, settings=settings, now=clock, keys=keys))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="https://core.example") as http:
            answer = await ask(http, token())
            assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0
            assert (await http.get("/readyz")).json() == {"status": "the identity provider does not answer"}
            assert (await ask(http, None, "{ __typename }")).status_code == 200
            city_provider.broken = False
            monkeypatch.setattr(keys_module, "LOOK_AGAIN_MIN_S", 0)
            while (await ask(http, token())).status_code == 503:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert (await ask(http, token())).status_code == 200
    assert "the keys of the identity provider can't be fetched" in capfd.readouterr().err


async def test_without_keys_requests_do_not_wait(  # noqa: PLR0917
    core: Core, clock: Clock, settings: Settings, city_provider: Provider, token: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    city_provider.broken = True
    async with httpx.AsyncClient() as asking:
        keys = ProviderKeys(settings, asking)
        await keys.look_again()
        asked = len(city_provider.asked)
        later_s = time.monotonic() + 60
        monkeypatch.setattr(keys_module, "time", SimpleNamespace(monotonic=lambda: later_s))
        with pytest.raises(KeysUnknown):
            await Identities(keys, settings, core.secret, clock).actor(f"Bearer {token()}".encode())
        assert len(city_provider.asked) == asked
    assert "can't be fetched" in capfd.readouterr().err


@pytest.mark.parametrize(
    "changed",
    [{"issuer": "https://elsewhere.example"}, {"jwks_uri": "http://elsewhere.example/keys"}, {"jwks_uri": None}],
)
async def test_an_untrusted_configuration_is_refused(
    settings: Settings, city_provider: Provider, changed: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    city_provider.configuration |= changed
    async with httpx.AsyncClient() as http:
        keys = ProviderKeys(settings, http)
        await keys.look_again()
        assert keys.now is None
    assert "WrongKeys" in capfd.readouterr().err


async def test_the_url_of_keys_can_be_set(core: Core, city_provider: Provider) -> None:
    settings = Settings(oidc_issuer="https://nobody.example", oidc_jwks_url=f"{city_provider.url}/keys")
    async with keys_of(settings, core.secret) as keys:
        assert keys.now
        assert [key.kid for key in keys.now] == ["first"]


def test_only_keys_for_signatures_are_used() -> None:
    good = rsa_key("a")
    others = [
        OctKey.generate_key(256, {"kid": "b"}).as_dict(private=True),
        rsa_key("c", use="enc").as_dict(private=False),
        {"kty": "RSA", "kid": "d"},
        {"kty": "EC", "crv": "made-up", "x": "1", "y": "1"},
        "e",
    ]
    assert [key.kid for key in public_keys({"keys": [*others, good.as_dict(private=False)]})] == ["a"]
    empty: dict[str, Any]
    for empty in ({"keys": others}, {"keys": []}):
        assert not public_keys(empty)
    nothing: dict[str, Any]
    for nothing in ({"keys": "x"}, {}):
        with pytest.raises(WrongKeys):
            public_keys(nothing)


@pytest.fixture
def identities(core: Core, clock: Clock) -> Identities:
    return Identities(DevelopmentKeys(core.secret), Settings(), core.secret, clock)


async def actor(identities: Identities, client: Client, login: Login) -> Actor:
    return await identities.actor(f"Bearer {client.token(login)}".encode())


async def test_the_claims_of_a_token_make_an_actor(identities: Identities, client: Client) -> None:
    login = Login(subject="rosa", roles=["hospital_clerk", "made-up"], hospitals=["la-merced", "NO"], client="window")
    clerk = await actor(identities, client, login)
    assert (clerk.roles, clerk.subject, clerk.client) == (("hospital_clerk",), "rosa", "window")
    assert clerk.hospitals == {"la-merced"}
    assert clerk.login_as("hospital_clerk") == "rosa"


async def test_an_actor_s_repr_hides_the_token(identities: Identities, client: Client) -> None:
    token = client.token(Login(subject="rosa"))
    assert token.rpartition(".")[2] not in repr(await identities.actor(f"Bearer {token}".encode()))


async def test_an_identity_number_makes_a_citizen(identities: Identities, client: Client, core: Core) -> None:
    ana = await actor(identities, client, Login(subject="ana@example.org", identity="04.820.193 lp"))
    assert ana.roles == ("citizen",)
    assert ana.identity == core.secret.identity_digest("4820193")
    assert "ana" not in ana.login_as("citizen")  # the log is for ever
    again = await actor(identities, client, Login(subject="ana@example.org"))
    assert ana.login_as("citizen") == again.login_as("citizen") == again.login_as("anonymous")
    clerk = await actor(identities, client, Login(subject="rosa", roles=["auditor"], identity="4820193"))
    assert clerk.roles == ("citizen", "auditor")
    assert "rosa" not in clerk.login_as("citizen")


async def test_a_foreigner_s_identity_number_makes_a_citizen(
    identities: Identities, client: Client, core: Core
) -> None:
    juan = await actor(identities, client, Login(subject="juan", identity=" e 01234567"))
    assert juan.roles == ("citizen",)
    assert juan.identity == core.secret.identity_digest("E-1234567")


@pytest.mark.parametrize("identity", ["", "x", "0", "E-", "AB123456", "20101-15-17"])
async def test_without_an_identity_number_only_public_rights_apply(
    identities: Identities, client: Client, identity: str
) -> None:
    assert (await actor(identities, client, Login(subject="ana", identity=identity))).roles == ("anonymous",)


async def test_a_provider_cannot_grant_developer(
    core: Core, clock: Clock, settings: Settings, keys: Keys, token: Callable[..., str]
) -> None:
    identities = Identities(keys, settings, core.secret, clock)
    roles = ["developer", "citizen", "anonymous"]
    assert (await identities.actor(f"Bearer {token(roles=roles)}".encode())).roles == ("anonymous",)


async def test_claims_can_be_nested(core: Core, clock: Clock, keys: Keys, token: Callable[..., str]) -> None:
    settings = Settings(
        oidc_issuer=keys.issuer, oidc_roles_claim="realm_access.roles", oidc_identity_claim="profile.document.number"
    )
    said = {"realm_access": {"roles": ["auditor"]}, "profile": {"document": {"number": 4820193}}, "roles": ["system"]}
    one = await Identities(keys, settings, core.secret, clock).actor(f"Bearer {token(**said)}".encode())
    assert one.roles == ("citizen", "auditor")


async def test_the_token_cache_is_bounded(
    identities: Identities, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TOKENS_MAX >= 10_000
    monkeypatch.setattr("api.access.identity.TOKENS_MAX", 2)
    ana, luis, eva = [client.token(Login(subject=name)) for name in ("ana", "luis", "eva")]
    known = [await identities.actor(f"Bearer {token}".encode()) for token in (ana, luis)]
    assert await identities.actor(f"Bearer {ana}".encode()) is known[0]
    await identities.actor(f"Bearer {eva}".encode())
    assert await identities.actor(f"Bearer {ana}".encode()) is known[0]
    assert await identities.actor(f"Bearer {luis}".encode()) is not known[1]


async def test_with_a_provider_there_are_no_development_tokens(core: Core, clock: Clock) -> None:
    settings = Settings(oidc_issuer="https://id.example")
    with pytest.raises(SettingError, match="signs the tokens here"):
        development_token(core.secret, settings, Login(), begin=clock(), lasts=timedelta(hours=1))


async def test_another_installation_s_token_is_invalid(client: Client, clock: Clock) -> None:
    other = development_token(
        Secret(bytes(32)), Settings(), Login(roles=["developer"]), begin=clock(), lasts=timedelta(1)
    )
    client.http.headers["authorization"] = f"Bearer {other}"
    assert (await client.http.post("/graphql", json={"query": "{ __typename }"})).status_code == 401


async def test_a_number_that_passed_to_another_registration_is_looked_up_again(client: Client, clock: Clock) -> None:
    document = """mutation ($input: RegisterPersonInput!) { registerPerson(input: $input) { person { id } } }"""
    ana = {"identity": "4820193", "givenNames": "Ana", "familyNames": "M", "birthDate": "1990-05-17", "sex": "F"}
    tablet = Login(subject="ana", identity="4820193", client="tablet")
    client.act_as(Login(subject="ana", identity="4820193", client="phone"))
    first = (await client.data(document, input={"idempotencyKey": "1", **ana}))["person"]["id"]
    seen = "query ($id: ID!) { person(id: $id) { givenNames } }"
    client.act_as(tablet)
    assert await client.data(seen, id=first) == {"givenNames": "Ana"}
    client.act_as(Login(subject="ana", identity="4820193", client="phone"))
    erased = 'mutation ($id: ID!) { erasePerson(input: {idempotencyKey: "e", person: $id}) { errors { code } } }'
    assert (await client.data(erased, id=first))["errors"] == []
    second = (await client.data(document, input={"idempotencyKey": "2", **ana}))["person"]["id"]
    assert first != second
    assert await client.data(seen, id=second) == {"givenNames": "Ana"}  # what this token did is known to it
    client.act_as(tablet)
    clock.wait(60)
    assert await client.data(seen, id=second) == {"givenNames": "Ana"}
