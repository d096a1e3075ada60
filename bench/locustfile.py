"""Bookings by locust, from a Python environment that has it; the project does not need it.

`locust -f bench/locustfile.py --host http://127.0.0.1:8000 --headless -u 50 -r 10 -t 30s` against `igob serve --demo`.
Each user registers, then books a free slot and cancels it again, so a run can last for hours. Refusals count as
failures, by code. Requests have the token in IGOB_TOKEN.
"""

import os
import secrets
import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

from locust import FastHttpUser, between, task
from locust.exception import StopUser

SLOTS_WANTED = 5_000
PAGE = 25  # with 50 slots each: a query has a limit of values
HOSPITALS = "{ hospitals(first: 100) { nodes { code } } }"
AGENDAS = """query ($hospital: String!, $day: Date!, $after: String, $page: Int!) {
  agendas(hospital: $hospital, onOrAfter: $day, first: $page, after: $after) {
    nodes { id slots(first: 50, state: FREE) { nodes { number } } } pageInfo { endCursor hasNextPage } } }"""
REGISTER = """mutation ($input: RegisterPersonInput!) {
  registerPerson(input: $input) { person { id } errors { code message } } }"""
BOOK = """mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) {
  appointment { id slot start state } position errors { code message path } } }"""
CANCEL = """mutation ($input: CancelAppointmentInput!) {
  cancelAppointment(input: $input) { position errors { code message path } } }"""

free: deque[tuple[str, int]] = deque()  # agenda and slot number; of all users of this process
filling = threading.Lock()


class Citizen(FastHttpUser):
    """A user who books, cancels, and books again."""

    wait_time = between(0.05, 0.2)

    def on_start(self) -> None:
        token = os.environ.get("IGOB_TOKEN")
        self.sent_headers = {"Authorization": f"Bearer {token}"} if token else {}
        with filling:
            if not free:
                self.look_for_slots()
        if not free:
            raise StopUser
        identity = str(10**9 + secrets.randbelow(9 * 10**9))
        names = {"givenNames": "Ana", "familyNames": "Mamani", "birthDate": "1990-05-17", "sex": "F"}
        payload = self.change("registerPerson", REGISTER, identity=identity, **names)
        if payload is None:
            raise StopUser
        self.person = payload["person"]["id"]

    def look_for_slots(self) -> None:
        day = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
        for hospital in (self.ask("hospitals", HOSPITALS) or {"nodes": []})["nodes"]:
            after, more = None, True
            while more and len(free) < SLOTS_WANTED:
                wanted = {"hospital": hospital["code"], "day": day, "page": PAGE, "after": after}
                found = self.ask("agendas", AGENDAS, **wanted)
                if found is None:
                    return
                free.extend((one["id"], slot["number"]) for one in found["nodes"] for slot in one["slots"]["nodes"])
                after, more = found["pageInfo"]["endCursor"], found["pageInfo"]["hasNextPage"]

    @task
    def book_and_cancel(self) -> None:
        if not free:
            return
        agenda, slot = free.popleft()
        booked = self.change("bookAppointment", BOOK, agenda=agenda, slot=slot, patient=self.person)
        if booked and self.change("cancelAppointment", CANCEL, appointment=booked["appointment"]["id"]):
            free.append((agenda, slot))

    def change(self, name: str, document: str, **wanted: Any) -> Any:
        """The payload; None if it was refused."""
        return self.ask(name, document, input={"idempotencyKey": secrets.token_hex(16), **wanted})

    def ask(self, name: str, document: str, **variables: Any) -> Any:
        """The result of the root field `name`; None after an error, which is reported to locust."""
        body = {"query": document, "variables": variables}
        with self.client.post(
            "/graphql", json=body, headers=self.sent_headers, name=name, catch_response=True
        ) as answer:
            response = answer.json() if answer.status_code == 200 else None
            payload = (response.get("data") or {}).get(name) if response else None
            errors = (response or {}).get("errors") or (payload or {}).get("errors")
            if errors:
                error = errors[0]
                answer.failure(error.get("code") or (error.get("extensions") or {}).get("code") or "graphql_error")
            elif payload is None:
                answer.failure(f"http_{answer.status_code}")
            return None if errors else payload
