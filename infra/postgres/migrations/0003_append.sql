-- The append of 0001 with the same parameters, answers and guarantees, at a lower price for each call. What is different:
--
-- * Versions are compared by one EXISTS, in the same statement that finds the last position. conflicts() runs only if
--   something is stale, or if a refused command's key must be looked up. The comparison reads the index from the version
--   seen, so a long stream costs as much as a short one.
-- * One subtransaction instead of two. If a row is there already, the handler asks conflicts() for keys first, then for
--   streams. If nothing is in the way but keys that are no longer kept, the second attempt replaces them.
--
-- VOLATILE at READ COMMITTED, as before: the statement that compares versions begins after the lock was had, so it sees
-- all that was committed until then.
CREATE OR REPLACE FUNCTION {schema}.append(
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
    stale boolean;
    base bigint;
    written_at timestamptz;
BEGIN
    PERFORM {schema}.lock_log();

    SELECT EXISTS (
               SELECT FROM unnest(streams, versions) AS r (stream, seen)
               WHERE r.seen <> coalesce((
                   SELECT e.originator_version FROM {schema}.events AS e
                   WHERE e.originator_id = r.stream AND e.originator_version >= r.seen
                   ORDER BY e.originator_version DESC LIMIT 1
               ), 0)
           ),
           coalesce((SELECT max(e.notification_id) FROM {schema}.events AS e), 0)
    INTO stale, base;
    IF stale OR array_position(ordinals, NULL) IS NOT NULL THEN
        IF NOT stale THEN  -- no need to compare versions again
            streams := NULL;
            versions := NULL;
        END IF;
        RETURN QUERY SELECT * FROM {schema}.conflicts(
            streams, versions, ARRAY(SELECT k.key FROM unnest(keys, ordinals) AS k (key, ordinal) WHERE k.ordinal IS NULL)
        );
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    written_at := clock_timestamp();

    FOR attempt IN 1..2 LOOP
        BEGIN
            IF attempt = 1 THEN
                INSERT INTO {schema}.commands (key, digest, "position", recorded_at)
                SELECT k.key, decode(k.digest, 'hex'), base + k.ordinal, written_at
                FROM unnest(keys, digests, ordinals) AS k (key, digest, ordinal) WHERE k.ordinal IS NOT NULL;
            ELSE
                INSERT INTO {schema}.commands (key, digest, "position", recorded_at)
                SELECT k.key, decode(k.digest, 'hex'), base + k.ordinal, written_at
                FROM unnest(keys, digests, ordinals) AS k (key, digest, ordinal) WHERE k.ordinal IS NOT NULL
                ON CONFLICT (key) DO UPDATE
                SET digest = excluded.digest, "position" = excluded."position", recorded_at = excluded.recorded_at;
            END IF;
            INSERT INTO {schema}.events (originator_id, originator_version, topic, state, notification_id,
                                         recorded_at, actor, correlation_id, command_id)
            SELECT n.stream, n.version, n.topic, convert_to(n.state, 'UTF8'), base + n.ordinality,
                   written_at, actors[n.key], correlations[n.key], names[n.key]
            FROM unnest(string_to_array(event_streams, E'\n'), string_to_array(event_versions, E'\n')::bigint[],
                        string_to_array(event_topics, E'\n'), string_to_array(event_states, E'\n'),
                        string_to_array(event_keys, E'\n', '\N')::int[])
                 WITH ORDINALITY AS n (stream, version, topic, state, key, ordinality);
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            RETURN QUERY SELECT * FROM {schema}.conflicts(NULL, NULL, keys);
            IF FOUND THEN
                RETURN;
            END IF;
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
            IF attempt = 2 THEN  -- no old key was in the way: the batch contradicts itself
                RAISE;
            END IF;
        END;
    END LOOP;

    IF cardinality(new_subjects) > 0 THEN
        INSERT INTO {schema}.subject_keys (subject, wrapped_key)
        SELECT s.subject, s.wrapped_key FROM unnest(new_subjects, new_wrapped_keys) AS s (subject, wrapped_key);
    END IF;
    IF cardinality(erased_subjects) > 0 THEN
        DELETE FROM {schema}.subject_keys WHERE subject = ANY (erased_subjects);
    END IF;

    answer := 'appended';
    "position" := base;
    RETURN NEXT;
END
$$;
