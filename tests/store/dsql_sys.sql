-- What only DSQL has, on a plain PostgreSQL: jobs that build indexes, and the accidents that befall them.
CREATE SCHEMA sys;
CREATE TABLE sys.jobs (job_id text PRIMARY KEY, status text, details text, job_type text, object_name text,
                       start_time timestamptz DEFAULT clock_timestamp());
CREATE TABLE sys.accidents (left_over int);
INSERT INTO sys.accidents VALUES (0);
CREATE FUNCTION sys.create_index(statement text, name text) RETURNS TABLE (job_id text) LANGUAGE plpgsql AS $f$
DECLARE id text := md5(random()::text);
BEGIN
    IF EXISTS (SELECT 1 FROM pg_class WHERE relname = name) THEN RETURN; END IF;
    EXECUTE statement;
    IF EXISTS (SELECT 1 FROM sys.accidents WHERE left_over > 0) THEN
        UPDATE sys.accidents SET left_over = left_over - 1;
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = name::regclass;
        INSERT INTO sys.jobs VALUES (id, 'failed', 'the build met an accident', 'INDEX_BUILD', 'public.' || name);
    ELSE
        INSERT INTO sys.jobs VALUES (id, 'completed', NULL, 'INDEX_BUILD', 'public.' || name);
    END IF;
    RETURN QUERY SELECT id;
END $f$;
CREATE PROCEDURE sys.wait_for_job(job text, INOUT succeeded boolean DEFAULT NULL) LANGUAGE plpgsql AS $p$
BEGIN
    SELECT status = 'completed' INTO succeeded FROM sys.jobs WHERE job_id = job;
    IF succeeded IS NULL THEN RAISE EXCEPTION 'there is no job %', job; END IF;
END $p$;
