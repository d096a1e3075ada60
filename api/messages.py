"""The language of an answer: Spanish or English."""

from functools import lru_cache

from domain.errors import LANGUAGES, Language

HEADERS_MAX = 200  # remembered
LANGUAGE_LENGTH_MAX = 200


@lru_cache(HEADERS_MAX)
def language_of(accept_language: bytes) -> Language:
    """The language for an Accept-Language header (RFC 9110 §12.5.4); Spanish if it names neither language."""
    best: Language = "es"
    best_quality = 0.0
    for item in accept_language.decode("latin-1").lower().split(","):
        tag, _, parameter = item.strip().partition(";")
        try:
            quality = float(parameter.strip().removeprefix("q=")) if parameter.strip() else 1.0
        except ValueError:
            continue
        for language in LANGUAGES:
            if tag.partition("-")[0] == language and quality > best_quality:
                best, best_quality = language, quality
    return best
