-- +goose Up

-- Audiences of accounts whose owners have given a token: contract/postgres.md 7.
CREATE TABLE IF NOT EXISTS instagram_profile_insights (
    id bigserial NOT NULL PRIMARY KEY,
    profile_id varchar,
    handle text,
    created_at timestamp,
    updated_at timestamp,
    audience_country jsonb,
    audience_city jsonb,
    audience_gender_age jsonb,
    audience_locale jsonb,
    reached_audience_country jsonb,
    reached_audience_city jsonb,
    reached_audience_gender_age jsonb,
    engaged_audience_country jsonb,
    engaged_audience_city jsonb,
    engaged_audience_gender_age jsonb,
    CONSTRAINT instagram_profile_insights_profile_id_key UNIQUE (profile_id)
) WITH (fillfactor = 80);
ALTER TABLE instagram_profile_insights ADD COLUMN IF NOT EXISTS lineage jsonb;

-- Likes and comments, who follows whom: appended, one row for each event, whose
-- id keeps a repeated message from being a second row. Rows of the existing
-- system have no event id. Contract/postgres.md 17 and 18.
CREATE TABLE IF NOT EXISTS post_activity_log (
    id bigserial NOT NULL PRIMARY KEY,
    activity_type text,
    platform text,
    platform_post_id text,
    actor_profile_id text,
    dimensions jsonb,
    metrics jsonb,
    source text,
    "timestamp" timestamp
);
-- The existing table has text here. A column of its own type is left alone.
-- +goose StatementBegin
DO $$
DECLARE c text;
BEGIN
    FOREACH c IN ARRAY ARRAY['dimensions', 'metrics'] LOOP
        IF (SELECT atttypid FROM pg_attribute WHERE attrelid = 'post_activity_log'::regclass AND attname = c) = 'text'::regtype THEN
            EXECUTE format('ALTER TABLE post_activity_log ALTER COLUMN %1$I TYPE jsonb USING nullif(%1$I, '''')::jsonb', c);
        END IF;
    END LOOP;
END $$;
-- +goose StatementEnd
ALTER TABLE post_activity_log
    ADD COLUMN IF NOT EXISTS event_id uuid,
    ADD COLUMN IF NOT EXISTS raw_id text,
    ADD COLUMN IF NOT EXISTS task_id bigint;
CREATE UNIQUE INDEX IF NOT EXISTS post_activity_log_event_id_key ON post_activity_log (event_id);
CREATE INDEX IF NOT EXISTS post_activity_log_post_idx ON post_activity_log (platform, platform_post_id);

CREATE TABLE IF NOT EXISTS profile_relationship_log (
    id bigserial NOT NULL PRIMARY KEY,
    relationship_type text,
    platform text,
    source_profile_id text,
    target_profile_id text,
    source_dimensions jsonb,
    source_metrics jsonb,
    target_dimensions jsonb,
    target_metrics jsonb,
    source text,
    "timestamp" timestamp
);
ALTER TABLE profile_relationship_log
    ADD COLUMN IF NOT EXISTS event_id uuid,
    ADD COLUMN IF NOT EXISTS raw_id text,
    ADD COLUMN IF NOT EXISTS task_id bigint;
CREATE UNIQUE INDEX IF NOT EXISTS profile_relationship_log_event_id_key ON profile_relationship_log (event_id);
CREATE INDEX IF NOT EXISTS profile_relationship_log_source_idx ON profile_relationship_log (source_profile_id);
CREATE INDEX IF NOT EXISTS profile_relationship_log_target_idx ON profile_relationship_log (target_profile_id);

-- For tables of the existing system and for readers of them; nothing writes here
-- (contract/postgres.md 8).
CREATE TABLE IF NOT EXISTS instagram_account_request (
    id bigserial NOT NULL PRIMARY KEY,
    handle text,
    status text,
    created_at timestamp,
    updated_at timestamp
);

-- +goose Down
SELECT 1;
