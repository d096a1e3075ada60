"""Syntax errors in Spanish: the document is read again up to the place of the error, to see what stands there.

The library reports them as English sentences, without saying in another way what is wrong.
"""

from graphql import GraphQLSyntaxError, Lexer, Source, TokenKind
from graphql.language.lexer import is_punctuator_token_kind

LEVELS_MAX = 100  # no valid document has as many, see limits.DEPTH_MAX
LENGTH_MAX = 60  # of the text that is quoted
OPENING = (TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L)
CLOSING = (TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R)


def syntax_error_in_spanish(body: str, position: int, *, tokens_max: int) -> str:
    """What is wrong at this position of a document that the parser refuses."""
    try:
        tokens, levels = _read(body[:position])
        token = Lexer(Source(body[position:])).advance() if body[position : position + 1] != "#" else None
    except GraphQLSyntaxError:  # the position is within a token, or no token can begin there
        return _unreadable(body, position)
    if token is None or tokens >= tokens_max:  # nothing is wrong with a comment but that it is one too many
        return f"El documento tiene más de {tokens_max} palabras y signos."
    if levels >= LEVELS_MAX:
        return "El documento tiene demasiados niveles."
    if token.kind is TokenKind.EOF:
        return "Error de sintaxis: el documento termina antes de tiempo."
    is_sign = is_punctuator_token_kind(token.kind)
    return _misplaced(token.kind.value if is_sign else body[position:][token.start : token.end])


def _read(body: str) -> tuple[int, int]:
    """The number of tokens, comments included, and the number of brackets that are still open."""
    lexer = Lexer(Source(body))
    first = token = lexer.token
    levels = 0
    while token.kind is not TokenKind.EOF:
        token = lexer.advance()
        levels += (token.kind in OPENING) - (token.kind in CLOSING)
    tokens = 0
    while first.next and first.next.kind is not TokenKind.EOF:
        tokens, first = tokens + 1, first.next
    return tokens, levels


def _unreadable(body: str, position: int) -> str:
    if position >= len(body) or body[position] in "\r\n":
        return "Error de sintaxis: falta cerrar un texto entre comillas."
    return _misplaced(body[position])


def _misplaced(text: str) -> str:
    if not text.isprintable():
        return "Error de sintaxis: lo que está en este lugar no se puede leer."
    shown = text if len(text) <= LENGTH_MAX else f"{text[:LENGTH_MAX]}…"
    return f"Error de sintaxis: `{shown}` no puede estar en este lugar."
