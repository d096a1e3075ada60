"""`igob token`: tokens for development."""

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from infra.cli.console import DataDir
from infra.cli.messages import plain_errors, settings_of
from infra.running.settings import SettingError, Settings

if TYPE_CHECKING:
    from infra.gateways.keys import Login

Hours = Annotated[float, Parameter(help="How long the token is valid.", validator=Number(gt=0, lte=24 * 365))]
Hospitals = Annotated[
    list[str] | None, Parameter(help="A hospital where a hospital clerk works; may be repeated.", negative="")
]
ServicePoints = Annotated[
    list[str] | None, Parameter(help="A service point where a counter clerk works; may be repeated.", negative="")
]
Roles = Annotated[
    list[str] | None, Parameter(help="Role of the login; may be repeated, see docs/access.md.", negative="")
]
Identity = Annotated[str, Parameter(help="A citizen's identity number.")]


def token(
    *,
    role: Roles = None,
    identity: Identity = "",
    hospital: Hospitals = None,
    service_point: ServicePoints = None,
    subject: str = "developer",
    client: str = "igob-token",
    hours: Hours = 12,
    data_dir: DataDir = None,
) -> None:
    """Print a token signed with this installation's development key. It is valid on this machine only.

    Without a role or an identity the role is `developer`, which may do everything.

    Parameters
    ----------
    subject:
        The login.
    client:
        The program to which the token is issued.
    """
    with plain_errors():
        login = login_of(role, identity, hospital, service_point, subject=subject, client=client)
        sys.stdout.write(signed(login, settings_of(data_dir), hours) + "\n")


def login_of(
    role: list[str] | None,
    identity: str,
    hospital: list[str] | None,
    service_point: list[str] | None,
    *,
    subject: str,
    client: str = "igob",
) -> "Login":
    """The login of these options. Raises SettingError for one that a server would refuse without a reason."""
    from infra.gateways.keys import Login

    login = Login(
        subject=subject,
        roles=role if role is not None else ([] if identity else ["developer"]),
        identity=identity,
        hospitals=hospital or (),
        service_points=service_point or (),
        client=client,
    )
    _check_login(login)
    return login


def signed(login: "Login", settings: Settings, hours: float) -> str:
    """A token for the login, signed with this installation's development key. Raises SettingError."""
    from datetime import UTC, datetime, timedelta

    from infra.gateways.keys import development_token
    from infra.running.secret import load_secret

    if not settings.secret and not (settings.data_dir / "secret").exists():
        raise SettingError(f"{settings.data_dir} has no secret: it is no server's; see --data-dir and IGOB_SECRET")
    begin, lasts = datetime.now(UTC), timedelta(hours=hours)
    return development_token(load_secret(settings), settings, login, begin=begin, lasts=lasts)


def _check_login(login: "Login") -> None:
    """Raise SettingError for a login that a server would refuse without a reason."""
    from api.access.identity import GIVEN
    from domain.errors import Rejected
    from domain.identifiers import SLUG, fits, parse_identity_number

    if unknown := set(login.roles) - GIVEN - {"developer"}:
        raise SettingError(f"there is no role {', '.join(sorted(unknown))} to give; see docs/access.md")
    try:
        if login.identity:
            parse_identity_number(login.identity)
    except Rejected:
        raise SettingError(
            f"{login.identity} is no identity number: 4820193, 4820193-1A, 4820193-1A LP, E-1234567"
        ) from None
    for codes, what in (
        (login.hospitals, "hospital's code: la-merced"),
        (login.service_points, "service point's code: sopocachi"),
    ):
        if wrong := [code for code in codes if not fits(SLUG, code)]:
            raise SettingError(f"{wrong[0]} is no {what}")
