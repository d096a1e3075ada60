"""Who asks: a bearer token becomes an actor. What an actor may do is in api/graphql/access.py."""

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import msgspec
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jws import JWSRegistry

from domain.errors import Rejected
from domain.identifiers import SLUG, ci_key, fits, parse_ci
from infra.gateways.keys import Keys
from infra.running.secret import Secret
from infra.running.settings import Settings

TOKEN_LENGTH_MAX = 8_192
TOKENS_MAX = 20_000  # remembered
REMEMBERED_S = 300  # then a token is looked at anew
SKEW_S = 60  # by which the provider's clock may differ from ours
SKEW = timedelta(seconds=SKEW_S)
SUBJECT_LENGTH_MAX = 255
SCOPES_MAX = 50  # places in which somebody works
PERSON_KNOWN_S = 60  # an identity number may pass to another registration, once its bearer was erased

# As they are called in tokens. `developer` may do everything, and no provider can give it.
Role = Literal[
    "anonymous",
    "citizen",
    "hospital_clerk",
    "counter_clerk",
    "cashier",
    "finance_officer",
    "finance_supervisor",
    "procedures_officer",
    "gateway",
    "auditor",
    "system",
    "administrator",
    "developer",
]
ROLES: tuple[Role, ...] = get_args(Role)
# Roles that are bound to places, and the attribute of `Actor` that has their codes.
BOUND_TO: dict[Role, str] = {"hospital_clerk": "hospitals", "counter_clerk": "service_points"}
GIVEN = frozenset(ROLES) - {"anonymous", "citizen", "developer"}  # by a provider: a citizen is who has a number

# What a header may say a token is, RFC 9068 or nothing in particular; and a claim, as Keycloak tells its kinds apart.
TYPES = ("jwt", "at+jwt", "application/at+jwt")
CLAIMED_TYPE = "Bearer"

_SUBJECT = re.compile(rf"[!-~]{{1,{SUBJECT_LENGTH_MAX}}}")
_CLIENT = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/=-]+) *", re.IGNORECASE)


class WrongToken(Exception):
    """A token that is none of ours, or no longer good. What is wrong with it is nobody's business but ours."""


class KeysUnknown(Exception):
    """Nobody's token can be checked: the provider has not answered yet."""


# What is wrong with a token, as it is found out: whatever strangers write is decoded.
_FAULTS = (JoseError, ValueError, TypeError, RecursionError)


class KnownPerson(msgspec.Struct):
    """Whom an actor's identity number was found to be, and until when that need not be looked up again."""

    person: str = ""
    until: datetime | None = None

    def remember(self, person: str, now: datetime) -> None:
        """That it is this person's; "" for nobody's, which is looked up again each time."""
        self.person, self.until = person, now + timedelta(seconds=PERSON_KNOWN_S) if person else None

    def forget(self) -> None:
        self.until = None


class Proof:
    """The token by which somebody is known, and at which generation of the keys. Not a Struct: those show all."""

    def __init__(self, token: str, generation: int) -> None:
        self.token = token
        self.generation = generation


class Actor(msgspec.Struct, frozen=True, eq=False):
    """Somebody, for one token.

    Attributes:
        roles: in the order of `ROLES`.
        subject: the login, as the provider names it; "" for nobody.
        account: issuer and subject, whose idempotency keys are their own: the program's own actors have no blank in it.
        name: a keyed hash of the account, by which a login can be told but not read.
        client: the program to which the token was given: the channel.
        identity: the digest under which a citizen is looked up; "" if the token has no identity number.
        hospitals: where a hospital clerk works; service_points and units likewise.
        expires_at: when the token ends; None never.
    """

    roles: tuple[Role, ...] = ("anonymous",)
    subject: str = ""
    account: str = ""
    name: str = "-"
    client: str = "-"
    identity: str = ""
    hospitals: frozenset[str] = frozenset()
    service_points: frozenset[str] = frozenset()
    units: frozenset[str] = frozenset()
    expires_at: datetime | None = None
    known_person: KnownPerson = msgspec.field(default_factory=KnownPerson)
    proof: Proof | None = None

    def has_ended(self, now: datetime) -> bool:
        """Whether the token is no longer good."""
        return self.expires_at is not None and now - SKEW >= self.expires_at

    def bounds(self, role: Role) -> frozenset[str] | None:
        """The codes of the places in which the actor has this role; None if the role is not bound to places."""
        attribute = BOUND_TO.get(role)
        places: frozenset[str] | None = getattr(self, attribute) if attribute else None
        return places

    def login_as(self, role: Role) -> str:
        """What the log keeps of the login: itself of who works for the city, and only where they do."""
        return self.name if role in ("anonymous", "citizen") else self.subject


ANONYMOUS = Actor()


class Identities:
    """Turns tokens into actors; those of late are remembered, so that a known one costs a look-up."""

    def __init__(self, keys: Keys, settings: Settings, secret: Secret, now: Callable[[], datetime]) -> None:
        self._keys = keys
        self._settings = settings
        self._secret = secret
        self._now = now
        self._known: OrderedDict[bytes, tuple[Actor, datetime]] = OrderedDict()  # by the unparsed header
        self._generation = keys.generation
        self._registry = JWSRegistry(algorithms=[*keys.algorithms], strict_check_header=False)
        self._registry.max_header_length = TOKEN_LENGTH_MAX

    async def actor(self, authorization: bytes) -> Actor:
        """Whom the header `Authorization` names; nobody if it is empty. Raises WrongToken, KeysUnknown."""
        if not authorization:
            return ANONYMOUS
        if self._generation != self._keys.generation:
            self._known.clear()  # a key is no longer good: perhaps it was stolen
            self._generation = self._keys.generation
        now = self._now()
        known = self._known.get(authorization)
        if known and now < known[1] and not known[0].has_ended(now):
            self._known.move_to_end(authorization)
            return known[0]
        found = _BEARER.fullmatch(authorization)
        if not found or len(found[1]) > TOKEN_LENGTH_MAX:
            raise WrongToken("no bearer token")
        token = found[1].decode()
        try:
            actor = self._actor_of(await self._claims(token, now), token)
        except _FAULTS as error:
            raise WrongToken(type(error).__name__) from None
        self._known[authorization] = actor, now + timedelta(seconds=REMEMBERED_S)
        self._known.move_to_end(authorization)
        if len(self._known) > TOKENS_MAX:
            self._known.popitem(last=False)
        return actor

    def still_good(self, actor: Actor) -> bool:
        """Whether an actor of some time ago is one now: the token has not ended, nor has its key been withdrawn.

        For connections that last. It asks nobody, and costs little.
        """
        proof = actor.proof
        if proof is None:
            return True  # nobody
        if actor.has_ended(self._now()):
            return False
        if proof.generation != self._keys.generation:
            try:
                self._decode(proof.token)
            except (KeysUnknown, *_FAULTS):
                return False
            proof.generation = self._keys.generation
        return True

    async def _claims(self, token: str, now: datetime) -> Mapping[str, Any]:
        """What the token says, if it is good. Raises WrongToken and what `_decode` does."""
        try:
            said = self._decode(token)
        except InvalidKeyIdError:  # perhaps it is signed by a key that is new
            await self._keys.look_again()
            said = self._decode(token)
        _check_type(said.header.get("typ", "JWT"), said.claims.get("typ", CLAIMED_TYPE))
        _check_claims(said.claims, issuer=self._keys.issuer, audience=self._settings.oidc_audience, now=now)
        return said.claims

    def _decode(self, token: str) -> jwt.Token:
        """What it says, if one of the keys signed it. Raises one of `_FAULTS` if not; KeysUnknown."""
        if self._keys.now is None:
            raise KeysUnknown
        return jwt.decode(token, self._keys.now, registry=self._registry)

    def _actor_of(self, claims: Mapping[str, Any], token: str) -> Actor:
        said = _texts(_claim(claims, self._settings.oidc_roles_claim))
        allowed = GIVEN | {"developer"} if self._keys.development else GIVEN
        given = {role for role in said if role in allowed}
        identity = self._identity(_claim(claims, self._settings.oidc_identity_claim))
        if identity:
            given.add("citizen")
        roles = tuple(role for role in ROLES if role in given) or ("anonymous",)
        subject = claims["sub"]
        client = claims.get("azp", claims.get("client_id"))
        return Actor(
            roles=roles,
            subject=subject,
            account=f"{self._keys.issuer} {subject}",
            name=self._secret.subject_digest(self._keys.issuer, subject),
            client=client if isinstance(client, str) and _CLIENT.fullmatch(client) else "-",
            identity=identity,
            hospitals=_codes(claims.get("hospital")),
            service_points=_codes(claims.get("service_point")),
            units=_codes(claims.get("unit")),
            expires_at=_moment(claims["exp"]),
            proof=Proof(token, self._keys.generation),
        )

    def _identity(self, said: Any) -> str:
        """The digest of an identity number; "" for what is none."""
        if isinstance(said, int) and not isinstance(said, bool):
            said = str(said)
        try:
            return self._secret.identity_digest(ci_key(parse_ci(said))) if isinstance(said, str) else ""
        except Rejected:
            return ""


def _check_type(header: Any, claim: Any) -> None:
    """Raise WrongToken for what is signed by the provider, too, but not to ask with: logouts, ID tokens."""
    if not isinstance(header, str) or header.lower() not in TYPES or claim != CLAIMED_TYPE:
        raise WrongToken("another type")


def _check_claims(claims: Mapping[str, Any], *, issuer: str, audience: str, now: datetime) -> None:
    """Raise WrongToken unless these are of this issuer, for this audience, of somebody, and of this time."""
    if claims.get("iss") != issuer:
        raise WrongToken("another issuer")
    if audience not in _texts(claims.get("aud")):
        raise WrongToken("another audience")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise WrongToken("no subject")
    if _moment(claims.get("exp")) <= now - SKEW:
        raise WrongToken("expired")
    for name in ("nbf", "iat"):
        if name in claims and _moment(claims[name]) > now + SKEW:
            raise WrongToken("of the future")


def _moment(seconds: Any) -> datetime:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise WrongToken("a time that is none")
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        raise WrongToken("a time that is none") from None


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, or by the way to it: realm_access.roles."""
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return claims.get(path, found)


def _texts(said: Any) -> Collection[str]:
    """One text, or a list of texts; what is neither is left out."""
    if isinstance(said, str):
        return (said,)
    return [text for text in said if isinstance(text, str)] if isinstance(said, list) else ()


def _codes(said: Any) -> frozenset[str]:
    return frozenset([code for code in _texts(said) if fits(SLUG, code)][:SCOPES_MAX])
