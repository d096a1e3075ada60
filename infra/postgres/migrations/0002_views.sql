-- Read models: what is kept of them beside the log. Their own tables are made and dropped by projections/, in a schema of
-- their own, where the application may do that; the log stays out of its reach. {schema} and {views} are filled in by
-- infra/migrate.py. Who may do what: grants.sql.

CREATE SCHEMA IF NOT EXISTS {views};

-- A generation is one building of a projection's table, from the first event on; the live one is what queries read.
-- `version` is that of the fold that makes it, `position` that of the last event in it.
CREATE TABLE {views}.generations (
    name       text NOT NULL,
    generation int NOT NULL,
    version    int NOT NULL,
    "position" bigint NOT NULL DEFAULT 0,
    live       boolean NOT NULL,
    begun_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, generation)
) WITH (fillfactor = 10);  -- a few rows, updated all day: there is room for their next versions
CREATE UNIQUE INDEX generations_one_live ON {views}.generations (name) WHERE live;

-- Streams with an event that the fold could not take: from there on they are missing in that generation.
CREATE TABLE {views}.parked (
    name       text NOT NULL,
    generation int NOT NULL,
    stream     text NOT NULL,
    "position" bigint NOT NULL,
    error      text NOT NULL,
    parked_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, generation, stream),
    FOREIGN KEY (name, generation) REFERENCES {views}.generations ON DELETE CASCADE
);

-- How far the live generation is, and how far behind: the head of the log, and for how many seconds the first event that
-- is not in it has been waiting. All at the moment of the statement that calls it. No row: it was never built.
CREATE FUNCTION {views}.freshness(wanted text)
RETURNS TABLE ("position" bigint, head bigint, lag_s double precision) LANGUAGE sql STABLE AS $$
    SELECT g."position",
           coalesce((SELECT max(e.notification_id) FROM {schema}.events AS e), 0),
           coalesce((SELECT greatest(extract(epoch FROM clock_timestamp() - e.recorded_at), 0)::double precision
                     FROM {schema}.events AS e WHERE e.notification_id = g."position" + 1), 0)
    FROM {views}.generations AS g WHERE g.name = wanted AND g.live
$$;
