"""Read models of obligations."""

from projections.obligations.obligations import OBLIGATIONS
from projections.obligations.ownerships import OWNERSHIPS

PROJECTIONS = (OWNERSHIPS, OBLIGATIONS)
