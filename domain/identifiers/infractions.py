"""Identifiers of infractions: plates as people write them, and ids that begin with the plate."""

from typing import TypeAlias

from domain.errors import Hint
from domain.identifiers.taxes import PlateHint
from domain.identifiers.text import pattern

Plate: TypeAlias = str  # in its one spelling, see `parse_number`: 1234ABC
InfractionId: TypeAlias = str  # the plate in lower case, then an opaque part

_BETWEEN = "[ ./-]{0,3}"

# Any spelling of a plate that `parse_number` understands, of limited length.
PLATE = pattern(rf"^ {{0,3}}[0-9](?:{_BETWEEN}[0-9]){{2,3}}(?:{_BETWEEN}[A-Za-z]){{3}} {{0,3}}\Z", PlateHint())


class InfractionHint(
    Hint,
    es="el identificador de una infracción empieza con la placa, como 1234abc/mfrggzdfmztwq2lknnwg23tpob: cópielo "
    "completo",
    en="an infraction's id begins with the plate, like 1234abc/mfrggzdfmztwq2lknnwg23tpob: copy it in full",
): ...


INFRACTION_NAME = pattern(r"^[0-9]{3,4}[a-z]{3}/[a-z2-7]{26}\Z", InfractionHint())


def plate_of(infraction: InfractionId) -> Plate:
    """The plate of an infraction: part of its id."""
    return infraction.partition("/")[0].upper()
