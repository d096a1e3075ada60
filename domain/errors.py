"""The only exception that a decision raises, and every reason it may give."""

from typing import Any, Literal

# A code is a promise to clients: it never changes its meaning. What people read is in api/messages.py.
Code = Literal[
    "absent_too_long",
    "agenda_exists",
    "agenda_unknown",
    "already_seen_here",
    "appointment_cancelled",
    "appointment_elsewhere",
    "appointment_over",
    "appointment_unknown",
    "called_just_now",
    "checked_in_already",
    "counter_busy",
    "counter_paused",
    "counter_unknown",
    "declared_by_yourself",
    "declared_otherwise",
    "delivery_unknown",
    "dependency_over",
    "dependency_unknown",
    "document_not_trusted",
    "document_unknown",
    "forbidden",
    "guardian_circle",
    "guardian_of_oneself",
    "guardian_under_age",
    "has_a_turn",
    "hold_limit_reached",
    "hold_renewed_already",
    "hospital_exists",
    "hospital_unknown",
    "idempotency_key_reused",
    "identity_taken",
    "in_the_past",
    "internal_error",
    "invalid_input",
    "line_closed",
    "line_exists",
    "line_full",
    "line_not_open_yet",
    "line_unknown",
    "login_required",
    "no_more_turns",
    "nobody_waits",
    "not_a_minor",
    "not_begun_yet",
    "not_its_day",
    "not_next",
    "not_preferential",
    "not_reached_yet",
    "not_released_yet",
    "overloaded",
    "person_unknown",
    "position_unknown",
    "query_too_large",
    "quota_exhausted",
    "recalled_too_often",
    "requeued_too_often",
    "resent_too_often",
    "service_point_exists",
    "service_point_unknown",
    "slot_taken",
    "slot_unknown",
    "token_invalid",
    "too_early",
    "too_far_ahead",
    "too_many_corrections",
    "too_many_dependants",
    "too_many_holds_today",
    "too_many_requests",
    "too_many_subscriptions",
    "too_many_turns",
    "too_many_wishes",
    "too_many_webhooks",
    "took_too_long",
    "turn_elsewhere",
    "turn_unknown",
    "unavailable",
    "visits_overlap",
    "webhook_unknown",
]

# With "invalid_input": what a right value looks like, in details as `hint`.
Hint = Literal[
    "agenda",
    "alone",
    "another_line",
    "birth_date",
    "cursor",
    "date",
    "days",
    "email",
    "hospital_code",
    "idempotency_key",
    "identity_number",
    "instant",
    "length",
    "line",
    "line_date",
    "line_times",
    "number",
    "once",
    "one_of",
    "one_of_two",
    "opaque",
    "page_size",
    "phone",
    "position",
    "slot_date",
    "slug",
    "text",
    "type",
    "webhook_url",
    "whole_number",
]


class Rejected(Exception):
    """A command that may not happen now: nothing is written.

    Attributes:
        code: the stable reason, see `Code`.
        path: the field of the command that is to blame, such as "slot" or "slots.3.start"; "" when none is.
        details: what a client needs to act, by name: ids, instants, `alternatives`; also fills the message's blanks.
    """

    def __init__(self, code: Code, path: str = "", **details: Any) -> None:
        super().__init__(code)
        self.code = code
        self.path = path
        self.details = details

    def __str__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.details.items())
        return f"{self.code} at {self.path or 'the command'}" + (f" ({said})" if said else "")
