"""The read model of service points: one row each, to list them with their names."""

from domain.identifiers import HospitalId, ServicePointId, id_of
from domain.queues.service_point import ServicePointRegistered
from projections.engine.columns import Text
from projections.engine.keyset import ColumnOrder, Range
from projections.engine.projection import Entry, Projection, Row
from projections.engine.query import Query


class ServicePointRow(Row):
    """An office or a ward. `hospital` is set if it belongs to one."""

    service_point: ServicePointId
    name: Text
    hospital: HospitalId | None


def _evolve(_row: ServicePointRow | None, entry: Entry, key: str) -> ServicePointRow:
    event = entry.event
    assert isinstance(event, ServicePointRegistered)
    return ServicePointRow(service_point=key, name=event.name, hospital=event.hospital)


SERVICE_POINTS = Projection(
    name="service_points",
    version=1,
    row=ServicePointRow,
    indexes=(),
    events=(ServicePointRegistered,),
    keys=lambda entry: (id_of(entry.stream),),
    evolve=_evolve,
)


BY_CODE = ColumnOrder(ServicePointRow, "service_point")


def all_service_points(part: Range) -> Query[ServicePointRow]:
    """A part of the service points, by code."""
    page = BY_CODE.keyset(part)
    return Query(
        projections=(SERVICE_POINTS.name,),
        select=f"SELECT * FROM {{service_points}} WHERE true{page.where()} ORDER BY {page.order()} LIMIT %(limit)s",
        parameters=page.parameters,
        row=ServicePointRow,
    )
