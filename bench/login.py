"""Tokens of benchmarks and tests: their cities have a fixed secret that is public, so tokens can be made here."""

from datetime import UTC, datetime, timedelta

from infra.gateways.keys import Login, development_token
from infra.running.secret import Secret
from infra.running.settings import Settings

SECRET = "5e" * 32
DEVELOPER = Login(roles=["developer"])
# Valid even if a test changes the clock.
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
LASTS = timedelta(days=365 * 50)


def bearer(login: Login = DEVELOPER) -> str:
    """The value of the header `Authorization` for a city with SECRET."""
    token = development_token(Secret(bytes.fromhex(SECRET)), Settings(), login, begin=BEGIN, lasts=LASTS)
    return f"Bearer {token}"
