"""Places in the schema: degrees here, whole millionths of a degree in commands and events."""

import strawberry

from domain.appointments import hospital as domain

MICRODEGREES = 1_000_000
DEGREES_MAX = 1_000.0


@strawberry.type(description="A place on the globe by WGS 84.")
class Location:
    latitude: float = strawberry.field(description="Degrees, north is positive: -16.495546.")
    longitude: float = strawberry.field(description="Degrees, east is positive: -68.133623.")


@strawberry.input(description="A place on the globe by WGS 84.")
class LocationInput:
    latitude: float = strawberry.field(description="Degrees, -90 to 90, north is positive: -16.495546.")
    longitude: float = strawberry.field(description="Degrees, -180 to 180, east is positive: -68.133623.")


def location(of: domain.Location | None) -> Location | None:
    """The place as clients see it."""
    if of is None:
        return None
    return Location(
        latitude=of.latitude_microdegrees / MICRODEGREES, longitude=of.longitude_microdegrees / MICRODEGREES
    )


def microdegrees(place: LocationInput) -> dict[str, int]:
    """The place as commands have it, to the nearest millionth of a degree: eleven centimetres."""
    return {
        "latitude_microdegrees": _microdegrees(place.latitude),
        "longitude_microdegrees": _microdegrees(place.longitude),
    }


def _microdegrees(degrees: float) -> int:
    """What is beyond the globe stays beyond it, but becomes a number of few digits."""
    return round(min(max(degrees, -DEGREES_MAX), DEGREES_MAX) * MICRODEGREES)
