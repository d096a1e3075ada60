"""Waiting in line in the schema: service points, lines and their counters, turns."""

from api.graphql.queues import calling, line_days, line_figures, lines, live, service_points, turn_records, turns

MODULES = (service_points, lines, turns, calling, line_days, turn_records, line_figures, live)
