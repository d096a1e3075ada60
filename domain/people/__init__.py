"""People: persons and organisations, which the rest of the system knows by opaque ids only, and who acts for whom.

One module per decider. The names of `person` are exported here; those about guardians are in `dependants`, those about
organisations in `organisation` and `representatives`.
"""

from domain.people import dependants, organisation, representatives
from domain.people.person import (
    CORRECTIONS_PER_PERSON_MAX,
    OLDEST_AGE_YEARS,
    CorrectPerson,
    Email,
    ErasePerson,
    Identity,
    IdentityClaimed,
    IdentityReleased,
    Person,
    PersonCorrected,
    PersonErased,
    PersonRegistered,
    Phone,
    RegisterPerson,
    Sex,
    correct_person,
    erase_person,
    evolve,
    evolve_identity,
    identity_stream,
    register_person,
    stream,
)

__all__ = [
    "CORRECTIONS_PER_PERSON_MAX",
    "OLDEST_AGE_YEARS",
    "CorrectPerson",
    "Email",
    "ErasePerson",
    "Identity",
    "IdentityClaimed",
    "IdentityReleased",
    "Person",
    "PersonCorrected",
    "PersonErased",
    "PersonRegistered",
    "Phone",
    "RegisterPerson",
    "Sex",
    "correct_person",
    "dependants",
    "erase_person",
    "evolve",
    "evolve_identity",
    "identity_stream",
    "organisation",
    "register_person",
    "representatives",
    "stream",
]
