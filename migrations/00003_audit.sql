-- +goose Up

-- Audit: one row per (entity, answer), written with the rows it led to. The
-- existing tables of these names hold nothing and are not partitioned; they
-- are kept aside. Partitions are months of "timestamp", made ahead by the
-- projections; the default takes what has none.
-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['profile_log', 'post_log'] LOOP
        IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass(t) AND relkind = 'r') THEN
            EXECUTE format('ALTER TABLE %I RENAME TO %I', t, t || '_before_beat');
        END IF;
    END LOOP;
END $$;
-- +goose StatementEnd

CREATE SEQUENCE IF NOT EXISTS beat_profile_log_id_seq CACHE 500;
CREATE TABLE IF NOT EXISTS profile_log (
    id bigint NOT NULL DEFAULT nextval('beat_profile_log_id_seq'),
    profile_id text,
    platform text,
    source text,
    dimensions jsonb,
    metrics jsonb,
    "timestamp" timestamp NOT NULL,
    event_id uuid NOT NULL,
    raw_id text,
    task_id bigint,
    parser integer,
    PRIMARY KEY (id, "timestamp"),
    UNIQUE (event_id, "timestamp")
) PARTITION BY RANGE ("timestamp");
CREATE TABLE IF NOT EXISTS profile_log_default PARTITION OF profile_log DEFAULT;
CREATE INDEX IF NOT EXISTS profile_log_profile_idx ON profile_log (profile_id, "timestamp" DESC);

CREATE SEQUENCE IF NOT EXISTS postlog_id_seq;
ALTER SEQUENCE postlog_id_seq CACHE 500;
CREATE TABLE IF NOT EXISTS post_log (
    id bigint NOT NULL DEFAULT nextval('postlog_id_seq'),
    platform text,
    platform_post_id text,
    profile_id text,
    source text,
    metrics jsonb,
    dimensions jsonb,
    "timestamp" timestamp NOT NULL,
    event_id uuid NOT NULL,
    raw_id text,
    task_id bigint,
    parser integer,
    PRIMARY KEY (id, "timestamp"),
    UNIQUE (event_id, "timestamp")
) PARTITION BY RANGE ("timestamp");
CREATE TABLE IF NOT EXISTS post_log_default PARTITION OF post_log DEFAULT;
CREATE INDEX IF NOT EXISTS post_log_post_idx ON post_log (platform_post_id, "timestamp" DESC);

-- Makes the month's partitions of both tables. Safe to call at any time from
-- any number of processes.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION beat_log_partition(month timestamp) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t text;
    first timestamp := date_trunc('month', month);
    name text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('beat_log_partition'));
    FOREACH t IN ARRAY ARRAY['profile_log', 'post_log'] LOOP
        name := t || to_char(first, '"_"YYYY"_"MM');
        IF to_regclass(name) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                name, t, first, first + interval '1 month');
        END IF;
    END LOOP;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP TABLE IF EXISTS profile_log, post_log;
DROP FUNCTION IF EXISTS beat_log_partition(timestamp);
