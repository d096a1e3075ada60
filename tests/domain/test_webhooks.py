"""Webhooks and deliveries: commands of administrators and the scheduler."""

from datetime import timedelta
from typing import Any

import pytest

from domain.decider import build
from domain.errors import Rejected
from domain.webhooks.delivery import (
    ATTEMPTS_MAX,
    BACK_OFF,
    RESENDS_MAX,
    DeliveryAttempted,
    DeliveryRequested,
    RecordAttempt,
    ResendDelivery,
)
from domain.webhooks.delivery import stream as delivery_stream
from domain.webhooks.registration import (
    WEBHOOKS,
    WEBHOOKS_MAX,
    RegisterWebhook,
    RemoveWebhook,
    WebhookRegistered,
    WebhookRemoved,
)
from tests.office import NOW, Office, given

SMS = "sms-gateway"
DELIVERY = f"{SMS}/17"


def register(**changed: Any) -> RegisterWebhook:
    fields: dict[str, Any] = {
        "webhook": SMS,
        "url": "https://sms.example.org/hook",
        "name": "SMS",
        "kinds": ["notice_given"],
    }
    return build(RegisterWebhook, **fields | changed)


def registered(**changed: Any) -> WebhookRegistered:
    fields: dict[str, Any] = {
        "webhook": SMS,
        "url": "https://sms.example.org/hook",
        "name": "SMS",
        "kinds": ["notice_given"],
        "generation": 1,
    }
    return WebhookRegistered(**fields | changed)


def test_a_webhook_is_registered_once() -> None:
    given().when(register()).then((WEBHOOKS, registered()))
    given(registered()).when(register()).nothing()


def test_a_webhook_can_be_changed() -> None:
    kinds = ["notice_given", "line_closed"]
    given(registered()).when(register(kinds=kinds)).then((WEBHOOKS, registered(kinds=sorted(kinds))))
    given(registered()).when(register(kinds=["notice_given"] * 2)).rejected("invalid_input", path="kinds", hint="once")
    unknown = given(registered()).when(register(kinds=["notice_given", "nothing"]))
    unknown.rejected("invalid_input", path="kinds.1", hint="type")


def test_a_generation_changes_the_secret_and_only_grows() -> None:
    given(registered()).when(register(generation=2)).then((WEBHOOKS, registered(generation=2)))
    wrong = given(registered(generation=3)).when(register(generation=2))
    wrong.rejected("invalid_input", path="generation", hint="number", bound=">= 3")
    removed = given(registered(generation=3), WebhookRemoved(webhook=SMS))
    removed.when(register(generation=3)).rejected("invalid_input", path="generation", hint="number", bound=">= 4")
    removed.when(register(generation=4)).then((WEBHOOKS, registered(generation=4)))


def test_the_number_of_webhooks_is_limited() -> None:
    full = given(*(registered(webhook=f"w-{number}") for number in range(WEBHOOKS_MAX)))
    full.when(register()).rejected("too_many_webhooks", path="webhook", limit=WEBHOOKS_MAX)
    full.when(register(webhook="w-7", name="another")).accepted()
    full.after(RemoveWebhook(webhook="w-7")).when(register()).accepted()


def test_a_webhook_is_removed_once() -> None:
    given(registered()).when(RemoveWebhook(webhook=SMS)).then((WEBHOOKS, WebhookRemoved(webhook=SMS)))
    given(registered(), WebhookRemoved(webhook=SMS)).when(RemoveWebhook(webhook=SMS)).nothing()
    given().when(RemoveWebhook(webhook=SMS)).rejected("webhook_unknown", path="webhook")


@pytest.mark.parametrize(
    "url",
    [
        "https://sms.example.org",
        "https://sms.example.org:8443/a/b?c=d&e=%20",
        "https://[2001:db8::1]/x",
        "https://example.org?x=1",
        "http://127.0.0.1:8080/hook",
        "http://localhost/hook",
        "http://[::1]:1/",
        "https://e.org/" + "x" * 486,
    ],
)
def test_allowed_urls(url: str) -> None:
    given().when(register(url=url)).accepted()


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://sms.example.org/hook", "webhook_url"),
        ("http://127.0.0.1.example.org/", "webhook_url"),
        ("http://localhost@example.org/", "webhook_url"),
        ("https://user:word@example.org/", "webhook_url"),
        ("https://example.org/#part", "webhook_url"),
        ("https://example.org/a b", "webhook_url"),
        ("https://example.org/\n", "webhook_url"),
        ("https:///hook", "webhook_url"),
        ("ftp://example.org/", "webhook_url"),
        ("file:///etc/passwd", "webhook_url"),
        ("", "webhook_url"),
        ("https://e.org/" + "x" * 487, "length"),
    ],
)
def test_refused_urls(url: str, hint: str) -> None:
    with pytest.raises(Rejected) as refused:
        register(url=url)
    assert (refused.value.code, refused.value.path, refused.value.details["hint"]) == ("invalid_input", "url", hint)


def failed(office: Office, times: int, *, first: int = 1) -> Office:
    commands = (RecordAttempt(delivery=DELIVERY, attempt=first + n, status=503) for n in range(times))
    return office.after(*commands)


def test_an_accepted_message_is_delivered() -> None:
    for status in (200, 204, 299):
        answer = given().when(RecordAttempt(delivery=DELIVERY, attempt=1, status=status))
        attempted = DeliveryAttempted(
            delivery=DELIVERY, attempt=1, attempted_at=NOW, state="DELIVERED", status=status, error="", next_at=None
        )
        answer.then((delivery_stream(DELIVERY), attempted))


@pytest.mark.parametrize(("status", "error"), [(199, None), (301, None), (404, None), (500, None), (None, "timeout")])
def test_a_failed_message_is_repeated(status: int | None, error: Any) -> None:
    ((_, event),) = given().when(RecordAttempt(delivery=DELIVERY, attempt=1, status=status, error=error)).recorded
    assert isinstance(event, DeliveryAttempted)
    assert event.state == "PENDING"
    assert event.next_at
    assert BACK_OFF[0] <= event.next_at - NOW <= BACK_OFF[0] * 1.2


def test_a_message_is_given_up_after_three_days() -> None:
    assert timedelta(days=2.5) < sum(BACK_OFF, timedelta()) < timedelta(days=3.5)
    nearly = failed(given(), ATTEMPTS_MAX - 1)
    assert nearly.state(delivery_stream(DELIVERY)).state == "PENDING"
    assert failed(nearly, 1, first=ATTEMPTS_MAX).state(delivery_stream(DELIVERY)).state == "GIVEN_UP"


def test_a_message_is_given_up_at_once_after_410() -> None:
    gone = given().after(RecordAttempt(delivery=DELIVERY, attempt=1, status=410))
    assert gone.state(delivery_stream(DELIVERY)).state == "GIVEN_UP"


def test_pauses_differ_between_deliveries_only() -> None:
    pauses = set()
    for number in (1, 2, 1):
        ((_, event),) = given().when(RecordAttempt(delivery=f"{SMS}/{number}", attempt=1, status=500)).recorded
        assert isinstance(event, DeliveryAttempted)
        pauses.add(event.next_at)
    assert len(pauses) == 2


def test_an_attempt_is_recorded_once() -> None:
    once = given().after(RecordAttempt(delivery=DELIVERY, attempt=1, status=500))
    once.when(RecordAttempt(delivery=DELIVERY, attempt=1, status=200)).nothing()
    once.when(RecordAttempt(delivery=DELIVERY, attempt=3, status=200)).nothing()
    once.when(RecordAttempt(delivery=DELIVERY, attempt=2, status=200)).accepted()


def test_resends_of_a_tried_message_are_limited() -> None:
    office = failed(given(registered()), 1)
    requested = (delivery_stream(DELIVERY), DeliveryRequested(delivery=DELIVERY, requested_at=NOW))
    for number in range(RESENDS_MAX):
        office.when(ResendDelivery(delivery=DELIVERY)).then(requested)
        office = office.after(ResendDelivery(delivery=DELIVERY))
        office.when(ResendDelivery(delivery=DELIVERY)).nothing()
        office = office.after(RecordAttempt(delivery=DELIVERY, attempt=number + 2, status=200))
    office.when(ResendDelivery(delivery=DELIVERY)).rejected("resent_too_often", path="delivery", limit=RESENDS_MAX)


def test_a_resent_message_is_repeated_like_a_new_one() -> None:
    office = failed(given(registered()), ATTEMPTS_MAX).after(ResendDelivery(delivery=DELIVERY))
    again = failed(office, ATTEMPTS_MAX - 1, first=ATTEMPTS_MAX + 1)
    assert again.state(delivery_stream(DELIVERY)).state == "PENDING"
    assert failed(again, 1, first=2 * ATTEMPTS_MAX).state(delivery_stream(DELIVERY)).state == "GIVEN_UP"


def test_an_unknown_delivery_cannot_be_resent() -> None:
    given().when(ResendDelivery(delivery=DELIVERY)).rejected("webhook_unknown", path="delivery")
    given(registered()).when(ResendDelivery(delivery=DELIVERY)).rejected("delivery_unknown", path="delivery")
    removed = failed(given(registered()), 1).after(RemoveWebhook(webhook=SMS))
    removed.when(ResendDelivery(delivery=DELIVERY)).rejected("webhook_unknown", path="delivery")


@pytest.mark.parametrize("delivery", ["sms", "sms/", "sms/0", "sms/-1", "sms/x", "/1", "sms/1/2", "sms/" + "1" * 19])
def test_a_malformed_delivery_id_is_refused(delivery: str) -> None:
    with pytest.raises(Rejected) as refused:
        build(ResendDelivery, delivery=delivery)
    assert (refused.value.code, refused.value.path) == ("invalid_input", "delivery")
