"""Read models of lines, and the work that falls due in lines."""

from projections.queues.due import DUE, lines_with_wishes
from projections.queues.lines import LINES
from projections.queues.service_points import SERVICE_POINTS
from projections.queues.turns import TURNS

PROJECTIONS = (SERVICE_POINTS, LINES, TURNS)

__all__ = ["DUE", "PROJECTIONS", "lines_with_wishes"]
