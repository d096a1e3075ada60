"""Waiting in line (filas): service points open lines, people take turns, counters call them by a published policy.

One stream is one line; `line` has its events and its fold, `service_point` its own. The commands are in `opening`,
`turns` and `calling`, and those that read other contexts in `domain/arrivals.py`.
"""

from domain.queues import calling, line, opening, order, outgoing, policy, service_point, turns

__all__ = ["calling", "line", "opening", "order", "outgoing", "policy", "service_point", "turns"]
