-- The log and its append. {schema} and {log} are filled in by infra/migrate.py. Who may do what: grants.sql.

-- Column names are those of the eventsourcing library, whose recorder reads this table; event_log names them for people.
CREATE TABLE {schema}.events (
    originator_id      text COLLATE "C" NOT NULL,
    originator_version bigint NOT NULL CHECK (originator_version >= 0),
    topic              text NOT NULL,
    state              bytea NOT NULL,
    -- Far from the end of bigint, and exact in a JSON number: no row leaves a position that can't be counted on from.
    notification_id    bigint NOT NULL CHECK (notification_id BETWEEN 1 AND 1000000000000000),
    recorded_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor              text,
    correlation_id     text,
    command_id         text,
    PRIMARY KEY (originator_id, originator_version)
) WITH (
    -- Nothing is ever updated or deleted here: vacuum has only to freeze, analyze only to follow the growth.
    autovacuum_vacuum_insert_scale_factor = 0.5,
    autovacuum_analyze_scale_factor = 0.05,
    fillfactor = 100
);
CREATE UNIQUE INDEX events_notification_id_idx ON {schema}.events (notification_id);

CREATE VIEW {schema}.event_log AS
SELECT notification_id AS "position",
       originator_id AS stream,
       originator_version AS version,
       topic AS event,
       convert_from(state, 'UTF8')::jsonb AS state,
       recorded_at, actor, correlation_id, command_id
FROM {schema}.events;

-- Accepted commands, so that the same key gives the same outcome again. Kept for seven days. Both are keyed hashes: of
-- actor and key, and of what was asked for.
CREATE TABLE {schema}.commands (
    key         uuid PRIMARY KEY,
    digest      bytea NOT NULL,
    "position"  bigint NOT NULL,
    recorded_at timestamptz NOT NULL
);

-- One key per person, wrapped by the city's secret. Deleting the row makes every personal field of theirs unreadable.
CREATE TABLE {schema}.subject_keys (
    subject     text PRIMARY KEY,
    wrapped_key bytea NOT NULL
);

-- Single facts about this database, such as which secret it belongs to.
CREATE TABLE {schema}.facts (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);

CREATE FUNCTION {schema}.kept_for() RETURNS interval LANGUAGE sql IMMUTABLE RETURN interval '7 days';

-- The lock under which a log is appended to: of the transaction, and each log its own, so that two schemas in one
-- database do not wait for each other. append() takes it; who must look and write without a conflict takes it before.
CREATE FUNCTION {schema}.lock_log() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock((1607::bigint << 32) | {log}::regclass::oid::bigint);
END
$$;

-- What stands against a batch, with the log locked: any number of
--   'known'   an idempotency key has its outcome already: the key, digest, position
--   'stale'   a stream is no longer at the version seen: its name, and its version now
--   'missed'  an event of a stale stream after the version seen, in order; 64 KiB of them in all, so that the answer fits
--             into a socket's buffer: a client that froze must not keep the lock by not reading it
CREATE FUNCTION {schema}.conflicts(streams text[], versions bigint[], keys uuid[])
RETURNS TABLE (answer text, name text, digest bytea, "position" bigint, version bigint, topic text, state bytea)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        WITH stale AS (
            SELECT r.stream, r.seen, coalesce(last.version, 0) AS version
            FROM unnest(streams, versions) AS r (stream, seen)
            LEFT JOIN LATERAL (  -- one index look-up a row here and below, whatever the statistics say
                SELECT e.originator_version AS version FROM {schema}.events AS e
                WHERE e.originator_id = r.stream ORDER BY e.originator_version DESC LIMIT 1
            ) AS last ON true
            WHERE coalesce(last.version, 0) <> r.seen
        )
        SELECT 'known', encode(uuid_send(c.key), 'hex'), c.digest, c."position", NULL::bigint, NULL::text, NULL::bytea
        FROM unnest(keys) AS k (key)
        CROSS JOIN LATERAL (SELECT * FROM {schema}.commands AS c WHERE c.key = k.key OFFSET 0) AS c
        WHERE c.recorded_at > clock_timestamp() - {schema}.kept_for()
      UNION ALL
        SELECT 'stale', s.stream, NULL, NULL, s.version, NULL, NULL FROM stale AS s
      UNION ALL
        SELECT 'missed', m.stream, NULL, NULL, m.originator_version, m.topic, m.state
        FROM (
            SELECT s.stream, e.originator_version, e.topic, e.state,
                   sum(octet_length(e.state)) OVER (ORDER BY s.stream, e.originator_version) AS bytes_until_here
            FROM stale AS s
            CROSS JOIN LATERAL (
                SELECT * FROM {schema}.events AS e
                WHERE e.originator_id = s.stream AND e.originator_version > s.seen
                ORDER BY e.originator_version LIMIT 1000
            ) AS e
        ) AS m
        WHERE m.bytes_until_here <= 65536;
END
$$;

-- Lock, check, append: the whole batch or nothing, in one round trip.
--
-- Each group of parameters is one table in columns. Columns are texts with a line for each row, since that is what
-- clients and server make and take apart the fastest; \N is NULL. Groups: streams read with the version seen (0 = no
-- event yet); keys with the digest (hex) of their command, its actor and correlation, and how many of the batch's events
-- it and those before it wrote, or NULL for a command that was refused (its key is only looked up: what was accepted once
-- stays accepted); events with the number of their command among the keys, from 1; keys of subjects.
--
-- A stream that was seen empty and is written to may be left out of those read, and keys of accepted commands are not
-- looked up either: their first row would be there twice, and the primary keys refuse that. Most streams and nearly all
-- keys are new, so this saves half of all look-ups; what was inserted before it came out is dead and vacuumed.
--
-- Answers 'appended' with the position before the first event; or, having written nothing, what conflicts() says.
--
-- VOLATILE at READ COMMITTED: each statement after the lock sees all that was committed before the lock was had. So
-- positions have no gaps and become visible in order, by construction.
CREATE FUNCTION {schema}.append(
    read_streams text, read_versions text,
    key_names text, key_digests text, key_actors text, key_correlations text, key_ordinals text,
    event_streams text, event_versions text, event_topics text, event_states text, event_keys text,
    new_subjects text[], new_wrapped_keys bytea[], erased_subjects text[]
) RETURNS TABLE (answer text, name text, digest bytea, "position" bigint, version bigint, topic text, state bytea)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    streams text[] := string_to_array(read_streams, E'\n');
    versions bigint[] := string_to_array(read_versions, E'\n')::bigint[];
    names text[] := string_to_array(key_names, E'\n');
    keys uuid[] := names::uuid[];
    digests text[] := string_to_array(key_digests, E'\n');
    actors text[] := string_to_array(key_actors, E'\n');
    correlations text[] := string_to_array(key_correlations, E'\n', '\N');
    ordinals bigint[] := string_to_array(key_ordinals, E'\n', '\N')::bigint[];
    base bigint;
    written_at timestamptz;
BEGIN
    PERFORM {schema}.lock_log();

    RETURN QUERY SELECT * FROM {schema}.conflicts(
        streams, versions, ARRAY(SELECT k.key FROM unnest(keys, ordinals) AS k (key, ordinal) WHERE k.ordinal IS NULL)
    );
    IF FOUND THEN
        RETURN;
    END IF;

    SELECT coalesce(max(e.notification_id), 0) INTO base FROM {schema}.events AS e;
    written_at := clock_timestamp();

    BEGIN
        BEGIN
            INSERT INTO {schema}.commands (key, digest, "position", recorded_at)
            SELECT k.key, decode(k.digest, 'hex'), base + k.ordinal, written_at
            FROM unnest(keys, digests, ordinals) AS k (key, digest, ordinal) WHERE k.ordinal IS NOT NULL;
        EXCEPTION WHEN unique_violation THEN
            RETURN QUERY SELECT * FROM {schema}.conflicts(NULL, NULL, keys);
            IF FOUND THEN
                RETURN;
            END IF;
            -- The key that is there is older than what is kept.
            INSERT INTO {schema}.commands (key, digest, "position", recorded_at)
            SELECT k.key, decode(k.digest, 'hex'), base + k.ordinal, written_at
            FROM unnest(keys, digests, ordinals) AS k (key, digest, ordinal) WHERE k.ordinal IS NOT NULL
            ON CONFLICT (key) DO UPDATE
            SET digest = excluded.digest, "position" = excluded."position", recorded_at = excluded.recorded_at;
        END;

        INSERT INTO {schema}.events (originator_id, originator_version, topic, state, notification_id,
                                     recorded_at, actor, correlation_id, command_id)
        SELECT n.stream, n.version, n.topic, convert_to(n.state, 'UTF8'), base + n.ordinality,
               written_at, actors[n.key], correlations[n.key], names[n.key]
        FROM unnest(string_to_array(event_streams, E'\n'), string_to_array(event_versions, E'\n')::bigint[],
                    string_to_array(event_topics, E'\n'), string_to_array(event_states, E'\n'),
                    string_to_array(event_keys, E'\n', '\N')::int[])
             WITH ORDINALITY AS n (stream, version, topic, state, key, ordinality);
    EXCEPTION WHEN unique_violation THEN
        SELECT array_agg(w.stream), array_agg(w.first - 1) INTO streams, versions
        FROM (
            SELECT n.stream, min(n.version) AS first
            FROM unnest(string_to_array(event_streams, E'\n'), string_to_array(event_versions, E'\n')::bigint[])
                 AS n (stream, version)
            GROUP BY n.stream
        ) AS w;
        RETURN QUERY SELECT * FROM {schema}.conflicts(streams, versions, NULL);
        IF FOUND THEN
            RETURN;
        END IF;
        RAISE;
    END;

    IF cardinality(new_subjects) > 0 THEN
        INSERT INTO {schema}.subject_keys (subject, wrapped_key)
        SELECT s.subject, s.wrapped_key FROM unnest(new_subjects, new_wrapped_keys) AS s (subject, wrapped_key);
    END IF;
    IF cardinality(erased_subjects) > 0 THEN
        DELETE FROM {schema}.subject_keys WHERE subject = ANY (erased_subjects);
    END IF;

    RETURN QUERY SELECT 'appended', NULL, NULL::bytea, base, NULL::bigint, NULL, NULL::bytea;
END
$$;

-- Owner only: forget outcomes that are no longer kept. Returns how many.
CREATE FUNCTION {schema}.forget_old_commands() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    WITH gone AS (
        DELETE FROM {schema}.commands WHERE recorded_at <= clock_timestamp() - {schema}.kept_for() RETURNING 1
    ) SELECT count(*) FROM gone
$$;
