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
    lexer = Lexer(Source(body))
    levels = 0
    try:
        token = lexer.advance()
        while token.start < position and token.kind is not TokenKind.EOF:
            levels += (token.kind in OPENING) - (token.kind in CLOSING)
            token = lexer.advance()
    except GraphQLSyntaxError:
        return _unreadable(body, position)
    read = 0
    before = token.prev
    while before:  # comments are tokens too
        read, before = read + 1, before.prev
    if read > tokens_max:
        return f"El documento tiene más de {tokens_max} palabras y signos."
    if levels >= LEVELS_MAX:
        return "El documento tiene demasiados niveles."
    if token.kind is TokenKind.EOF:
        return "Error de sintaxis: el documento termina antes de tiempo."
    return _misplaced(token.kind.value if is_punctuator_token_kind(token.kind) else body[token.start : token.end])


def _unreadable(body: str, position: int) -> str:
    if position >= len(body) or body[position] in "\r\n":
        return "Error de sintaxis: falta cerrar un texto entre comillas."
    return _misplaced(body[position])


def _misplaced(text: str) -> str:
    if not text.isprintable():
        return "Error de sintaxis: lo que está en este lugar no se puede leer."
    shown = text if len(text) <= LENGTH_MAX else f"{text[:LENGTH_MAX]}…"
    return f"Error de sintaxis: `{shown}` no puede estar en este lugar."
