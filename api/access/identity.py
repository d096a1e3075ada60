"""Identity: turns a bearer token into an actor. What an actor may do is in api/graphql/access.py."""

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
from domain.identifiers import SLUG, fits, parse_identity_number
from infra.gateways.keys import Keys
from infra.running.secret import Secret
from infra.running.settings import Settings

TOKEN_LENGTH_MAX = 8_192
TOKENS_MAX = 20_000  # remembered
REMEMBERED_S = 300  # then a token is checked again
SKEW_S = 60  # tolerated difference between the provider's clock and ours
SKEW = timedelta(seconds=SKEW_S)
SUBJECT_LENGTH_MAX = 255
SCOPES_MAX = 50  # places where somebody works
PERSON_KNOWN_S = 60  # an identity number may get another person, once the first was erased

# As tokens name them. `developer` may do everything, and no provider can grant it.
Role = Literal[
    "anonymous",
    "citizen",
    "hospital_clerk",
    "counter_clerk",
    "transport_guard",
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
# Roles that are bound to places, and the attribute of `Actor` with the codes of these places.
BOUND_TO: dict[Role, str] = {"hospital_clerk": "hospitals", "counter_clerk": "service_points"}
GIVEN = frozenset(ROLES) - {
    "anonymous",
    "citizen",
    "developer",
}  # from a provider: a login with an identity number is a citizen

# Accepted types of tokens: in the header (RFC 9068, or no particular type), and in the claim that Keycloak uses.
TYPES = ("jwt", "at+jwt", "application/at+jwt")
CLAIMED_TYPE = "Bearer"

_SUBJECT = re.compile(rf"[!-~]{{1,{SUBJECT_LENGTH_MAX}}}")
_CLIENT = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/=-]+) *", re.IGNORECASE)


class WrongToken(Exception):
    """A token is invalid or has expired. Clients do not learn the reason."""


class KeysUnknown(Exception):
    """No token can be checked, because the provider has not answered yet."""


# The exceptions that decoding a token from a stranger may raise.
_FAULTS = (JoseError, ValueError, TypeError, RecursionError)


class KnownPerson(msgspec.Struct):
    """The person found for an actor's identity number, and until when this need not be looked up again."""

    person: str = ""
    until: datetime | None = None

    def remember(self, person: str, now: datetime) -> None:
        """Remember the person; "" for nobody, which is looked up again each time."""
        self.person, self.until = person, now + timedelta(seconds=PERSON_KNOWN_S) if person else None

    def forget(self) -> None:
        self.until = None


class Proof:
    """The token of an actor, and the generation of keys that verified it. Not a Struct: a Struct's repr shows all."""

    def __init__(self, token: str, generation: int) -> None:
        self.token = token
        self.generation = generation


class Actor(msgspec.Struct, frozen=True, eq=False):
    """The holder of a token.

    Attributes:
        roles: in the order of `ROLES`.
        subject: the login, as the provider names it; "" without a token.
        account: issuer and subject, the scope of idempotency keys. The program's own actors have no blank in theirs.
        name: a keyed hash of the account: it distinguishes logins without revealing them.
        client: the program to which the token was issued.
        identity: the digest of the identity number, to look up a citizen; "" if the token has no number.
        hospitals: the hospitals of a hospital clerk; service_points and units likewise.
        expires_at: when the token expires; None for never.
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
        """Whether the token has expired."""
        return self.expires_at is not None and now - SKEW >= self.expires_at

    def bounds(self, role: Role) -> frozenset[str] | None:
        """The codes of the places where the actor has this role; None if the role is not bound to places."""
        attribute = BOUND_TO.get(role)
        places: frozenset[str] | None = getattr(self, attribute) if attribute else None
        return places

    def login_as(self, role: Role) -> str:
        """What the log keeps of the login: itself of who works for the city, and only where they do."""
        return self.name if role in ("anonymous", "citizen") else self.subject


ANONYMOUS = Actor()


class Identities:
    """Turns tokens into actors. Recent ones are cached, so that a known token costs one look-up."""

    def __init__(self, keys: Keys, settings: Settings, secret: Secret, now: Callable[[], datetime]) -> None:
        self._keys = keys
        self._settings = settings
        self._secret = secret
        self._now = now
        self._known: OrderedDict[bytes, tuple[Actor, datetime]] = OrderedDict()  # keyed by the unparsed header
        self._generation = keys.generation
        self._registry = JWSRegistry(algorithms=[*keys.algorithms], strict_check_header=False)
        self._registry.max_header_length = TOKEN_LENGTH_MAX

    async def actor(self, authorization: bytes) -> Actor:
        """The actor for a header `Authorization`; the anonymous one if it is "". Raises WrongToken, KeysUnknown."""
        if not authorization:
            return ANONYMOUS
        if self._generation != self._keys.generation:
            self._known.clear()  # a key was withdrawn, perhaps because it was stolen
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
        """Whether an actor is still valid: the token has not expired and its key has not been withdrawn.

        For long connections. It makes no request and costs little.
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
        """The claims of a valid token. Raises WrongToken and what `_decode` raises."""
        try:
            decoded = self._decode(token)
        except InvalidKeyIdError:  # it may be signed by a new key
            await self._keys.look_again()
            decoded = self._decode(token)
        _check_type(decoded.header.get("typ", "JWT"), decoded.claims.get("typ", CLAIMED_TYPE))
        _check_claims(decoded.claims, issuer=self._keys.issuer, audience=self._settings.oidc_audience, now=now)
        return decoded.claims

    def _decode(self, token: str) -> jwt.Token:
        """The decoded token, if one of the keys signed it. Raises one of `_FAULTS`, or KeysUnknown."""
        if self._keys.now is None:
            raise KeysUnknown
        return jwt.decode(token, self._keys.now, registry=self._registry)

    def _actor_of(self, claims: Mapping[str, Any], token: str) -> Actor:
        claimed = _texts(_claim(claims, self._settings.oidc_roles_claim))
        allowed = GIVEN | {"developer"} if self._keys.development else GIVEN
        given = {role for role in claimed if role in allowed}
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

    def _identity(self, number: Any) -> str:
        """The digest of an identity number; "" for an invalid one."""
        if isinstance(number, int) and not isinstance(number, bool):
            number = str(number)
        try:
            return self._secret.identity_digest(parse_identity_number(number).key) if isinstance(number, str) else ""
        except Rejected:
            return ""


def _check_type(header: Any, claim: Any) -> None:
    """Raise WrongToken for other tokens that the provider signs, such as logout tokens and ID tokens."""
    if not isinstance(header, str) or header.lower() not in TYPES or claim != CLAIMED_TYPE:
        raise WrongToken("another type")


def _check_claims(claims: Mapping[str, Any], *, issuer: str, audience: str, now: datetime) -> None:
    """Raise WrongToken unless the claims have this issuer and audience, a subject, and a valid time."""
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
    """A claim by its name or its path: realm_access.roles."""
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return claims.get(path, found)


def _texts(claim: Any) -> Collection[str]:
    """The texts of a claim: one text or a list of texts. Other values are ignored."""
    if isinstance(claim, str):
        return (claim,)
    return [text for text in claim if isinstance(text, str)] if isinstance(claim, list) else ()


def _codes(claim: Any) -> frozenset[str]:
    return frozenset([code for code in _texts(claim) if fits(SLUG, code)][:SCOPES_MAX])
