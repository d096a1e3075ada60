"""Bookings for `bench/wrk.lua`: free slots of a running city, each with a newly registered patient.

`python -m bench.prepare http://127.0.0.1:8000 2000 > bookings.txt`; a line has an agenda, a slot and a patient.
Requests have the token in IGOB_TOKEN.
"""

import os
import secrets
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import httpx

AT_ONCE = 8
TIMEOUT_S = 30.0
PAGE = 25  # with 50 slots each: a query has a limit of values
HOSPITALS = "{ hospitals(first: 100) { nodes { code } } }"
AGENDAS = """query ($hospital: String!, $day: Date!, $after: String, $page: Int!) {
  agendas(hospital: $hospital, onOrAfter: $day, first: $page, after: $after) {
    nodes { id slots(first: 50, state: FREE) { nodes { number } } } pageInfo { endCursor hasNextPage } } }"""
REGISTER = """mutation ($input: RegisterPersonInput!) {
  registerPerson(input: $input) { person { id } errors { code message } } }"""


class City:
    """A running city, queried with or without a token."""

    def __init__(self, url: str) -> None:
        token = os.environ.get("IGOB_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S)

    def ask(self, document: str, **variables: Any) -> Any:
        """The response's data. Raises httpx.HTTPError, or ValueError with the response's errors."""
        answer = self._http.post("/graphql", json={"query": document, "variables": variables})
        answer.raise_for_status()
        response = answer.json()
        if response.get("errors"):
            raise ValueError(str(response["errors"]))
        return response["data"]

    def close(self) -> None:
        self._http.close()

    def free(self) -> Iterator[tuple[str, int]]:
        """Free slots, as agenda and number, from the day after tomorrow on."""
        day = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
        for hospital in self.ask(HOSPITALS)["hospitals"]["nodes"]:
            page: dict[str, Any] = {"hasNextPage": True, "endCursor": None}
            while page["hasNextPage"]:
                wanted = {"hospital": hospital["code"], "day": day, "page": PAGE, "after": page["endCursor"]}
                found = self.ask(AGENDAS, **wanted)["agendas"]
                page = found["pageInfo"]
                yield from ((one["id"], slot["number"]) for one in found["nodes"] for slot in one["slots"]["nodes"])

    def patient(self) -> str:
        """Register a patient. Raises ValueError if the city refuses it."""
        wanted = {
            "idempotencyKey": secrets.token_hex(16),
            "identity": str(10**9 + secrets.randbelow(9 * 10**9)),
            "givenNames": "Ana",
            "familyNames": "Mamani",
            "birthDate": "1990-05-17",
            "sex": "F",
        }
        payload = self.ask(REGISTER, input=wanted)["registerPerson"]
        if payload["errors"]:
            raise ValueError(str(payload["errors"]))
        return str(payload["person"]["id"])


def lines(city: City, count: int) -> Iterator[str]:
    """This number of bookings, or as many as there are free slots."""
    slots = list(islice(city.free(), count))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        patients = pool.map(lambda _: city.patient(), slots)
        for (agenda, slot), patient in zip(slots, patients, strict=True):
            yield f"{agenda} {slot} {patient}"


def main() -> None:
    """`python -m bench.prepare URL COUNT`: print the bookings, one per line."""
    url, count = sys.argv[1:]
    try:
        with closing(City(url)) as city:
            for line in lines(city, int(count)):
                print(line)
    except (httpx.HTTPError, ValueError) as error:
        sys.exit(f"bench.prepare: {error}")


if __name__ == "__main__":
    main()
