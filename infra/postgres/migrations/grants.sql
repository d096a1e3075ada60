-- Who may do what, all of it: applied after every migration run, so that a new role of the application gets it too.
-- {schema}, {views} and {application} are filled in by infra/postgres/migrate.py. Functions are named alone: each name is there once.

REVOKE ALL ON {schema}.events, {schema}.event_log, {schema}.commands, {schema}.subject_keys, {schema}.facts,
    {schema}.migrations FROM PUBLIC, {application};
REVOKE ALL ON FUNCTION {schema}.kept_for, {schema}.lock_log, {schema}.conflicts, {schema}.append, {schema}.forget_old_commands
    FROM PUBLIC, {application};

GRANT USAGE ON SCHEMA {schema} TO {application};
GRANT SELECT, INSERT ON {schema}.events TO {application};
GRANT SELECT ON {schema}.event_log, {schema}.facts, {schema}.migrations TO {application};
-- UPDATE: a key older than what is kept gets its new outcome.
GRANT SELECT, INSERT, UPDATE ON {schema}.commands TO {application};
-- DELETE: an erasure.
GRANT SELECT, INSERT, DELETE ON {schema}.subject_keys TO {application};
GRANT EXECUTE ON FUNCTION {schema}.kept_for, {schema}.lock_log, {schema}.conflicts, {schema}.append TO {application};

-- Read models are the application's own: it makes and drops their tables, and what they say can be made again of the log.
REVOKE ALL ON SCHEMA {views} FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA {views} TO {application};
GRANT SELECT, INSERT, UPDATE, DELETE ON {views}.generations, {views}.parked TO {application};
GRANT EXECUTE ON FUNCTION {views}.freshness TO {application};
