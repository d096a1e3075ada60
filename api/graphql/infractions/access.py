"""Who works with infractions. Everybody sees those of a plate, without the guard and the evidence."""

from api.graphql.access import ALL, DOERS_OF_ALL, READERS_OF_ALL, Rule

GUARDS: Rule = {"transport_guard": ALL, **DOERS_OF_ALL}
FINANCE: Rule = {"finance_officer": ALL, "finance_supervisor": ALL, **DOERS_OF_ALL}
RECEIVERS: Rule = {"counter_clerk": ALL, "procedures_officer": ALL, **DOERS_OF_ALL}  # of statements
RESOLVERS: Rule = {"procedures_officer": ALL, **DOERS_OF_ALL}
OFFICERS: Rule = {
    "counter_clerk": ALL,
    "transport_guard": ALL,
    "finance_officer": ALL,
    "finance_supervisor": ALL,
    "procedures_officer": ALL,
    **READERS_OF_ALL,
}
LIST_READERS: Rule = {
    "finance_officer": ALL,
    "finance_supervisor": ALL,
    "procedures_officer": ALL,
    **READERS_OF_ALL,
}
