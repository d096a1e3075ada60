"""The language in which somebody reads an answer: Spanish first, then English."""

from functools import lru_cache

from domain.errors import LANGUAGES, Language

HEADERS_MAX = 200  # remembered
LANGUAGE_LENGTH_MAX = 200


@lru_cache(HEADERS_MAX)
def language_of(accept_language: bytes) -> Language:
    """The best language of ours for an Accept-Language header (RFC 9110 §12.5.4); Spanish when it wants neither."""
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
