"""Search for text without regard to accents and case.

Texts are simplified here and not in PostgreSQL, which would need an extension for accents. A read model stores
`simplified` text in a column, and a query looks for each of the `search_words` in it.
"""

import unicodedata


def simplified(text: str) -> str:
    """The text without accents, in lower case, with single blanks: "Pediatría  Ñ" becomes "pediatria n"."""
    letters = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(unicodedata.normalize("NFKD", plain.casefold()).split())


def search_words(text: str) -> list[str]:
    """The words to look for, each once. Empty for a blank text."""
    return list(dict.fromkeys(simplified(text).split()))
