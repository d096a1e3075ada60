"""Queues (filas): service points open lines, people take turns, counters call turns by a published policy.

Each line is one stream, with its events and its fold in `line`; those of service points are in `service_point`. The
commands are in `opening`, `turns` and `calling`; those that read other contexts are in `domain/arrivals.py`.
"""

from domain.queues import calling, line, opening, order, outgoing, policy, service_point, turns

__all__ = ["calling", "line", "opening", "order", "outgoing", "policy", "service_point", "turns"]
