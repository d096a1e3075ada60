"""Refusals of requests that are not GraphQL requests served here: each is an answer with an HTTP status."""

from domain.errors import Rejected


class Refused(Exception):
    """The request is refused with this status and these extra headers."""

    def __init__(self, status: int, refusal: Rejected, **headers: str) -> None:
        super().__init__(refusal.code)
        self.status = status
        self.refusal = refusal
        self.headers = headers


class OnlyThisMachine(
    Rejected,
    es="Sin un proveedor de identidad (IGOB_OIDC_ISSUER) solo se atiende a esta misma máquina, por su nombre localhost"
    " o su dirección.",
    en="Without an identity provider (IGOB_OIDC_ISSUER) only clients on the same machine are served, by its name"
    " localhost or its address.",
): ...


class WrongMethod(
    Rejected,
    es="Envíe la solicitud por POST, o por GET si es una consulta.",
    en="Send the request by POST, or by GET if it is a query.",
): ...


class MutationByGet(Rejected, es="Una mutación se envía por POST.", en="A mutation must be sent by POST."): ...


class StreamForPrograms(
    Rejected,
    es="Los flujos de eventos son para programas y para páginas de los orígenes admitidos.",
    en="Event streams are for programs, and for pages of allowed origins.",
): ...


class SubscriptionElsewhere(
    Rejected,
    es="Las suscripciones se piden como {media}, o por WebSockets con graphql-transport-ws.",
    en="Subscriptions are served as {media}, or over WebSockets by graphql-transport-ws.",
):
    media: str


class OnlySubscriptions(
    Rejected,
    es="Por WebSockets solo se piden suscripciones: pida la operación `{kind}` por HTTP.",
    en="Only subscriptions are served over WebSockets: ask for a {kind} over HTTP.",
):
    kind: str


class TooManyConnections(
    Rejected,
    es="Hay demasiadas conexiones: intente de nuevo más tarde.",
    en="There are too many connections: try again later.",
): ...


class NotAcceptable(
    Rejected,
    es="Las respuestas son {media}, en UTF-8.",
    en="Answers are {media}, in UTF-8.",
):
    media: str


class WrongContentType(Rejected, es="Envíe la solicitud como {wanted}.", en="Send the request as {wanted}."):
    wanted: str


class BodyCompressed(Rejected, es="El cuerpo no puede estar comprimido.", en="The body must not be compressed."): ...


class BodyTooLarge(Rejected, es="El cuerpo tiene más de {limit} bytes.", en="The body is larger than {limit} bytes."):
    limit: int


class BodyTooSlow(Rejected, es="El cuerpo no llegó en {seconds} s.", en="The body did not arrive within {seconds} s."):
    seconds: int
