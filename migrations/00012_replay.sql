-- +goose Up

-- Observations that can be parsed again: each row says what the parser of now
-- makes of one entity in one answer. digest is social.Log.Digest of it, answer
-- social.DigestLogs of all that the parser made of the answer; null is from
-- before. A row that the parser does not say any more is gone, or that a person
-- has withdrawn by a restore (answer is -1 then), and told_id is the
-- event_id under which the content of now was told, where that is not the row's
-- own.
ALTER TABLE profile_log
    ADD COLUMN IF NOT EXISTS kind text,   -- null: profile; insights
    ADD COLUMN IF NOT EXISTS handle text, -- of insights
    ADD COLUMN IF NOT EXISTS digest bigint,
    ADD COLUMN IF NOT EXISTS answer bigint,
    ADD COLUMN IF NOT EXISTS gone boolean,
    ADD COLUMN IF NOT EXISTS told_id uuid;
ALTER TABLE post_log
    ADD COLUMN IF NOT EXISTS digest bigint,
    ADD COLUMN IF NOT EXISTS answer bigint,
    ADD COLUMN IF NOT EXISTS gone boolean,
    ADD COLUMN IF NOT EXISTS told_id uuid;
ALTER TABLE post_activity_log
    ADD COLUMN IF NOT EXISTS digest bigint,
    ADD COLUMN IF NOT EXISTS answer bigint,
    ADD COLUMN IF NOT EXISTS parser integer,
    ADD COLUMN IF NOT EXISTS told_id uuid;
ALTER TABLE profile_relationship_log
    ADD COLUMN IF NOT EXISTS digest bigint,
    ADD COLUMN IF NOT EXISTS answer bigint,
    ADD COLUMN IF NOT EXISTS parser integer,
    ADD COLUMN IF NOT EXISTS told_id uuid;

-- The rows of one answer are found by its time, which all of them have: the
-- primary key begins with it, which costs no index more.
ALTER TABLE profile_log DROP CONSTRAINT IF EXISTS profile_log_pkey, ADD PRIMARY KEY ("timestamp", id);
ALTER TABLE post_log DROP CONSTRAINT IF EXISTS post_log_pkey, ADD PRIMARY KEY ("timestamp", id);
CREATE INDEX IF NOT EXISTS post_activity_log_time_idx ON post_activity_log ("timestamp");
CREATE INDEX IF NOT EXISTS profile_relationship_log_time_idx ON profile_relationship_log ("timestamp");

-- A replay that was applied, or is being applied.
CREATE TABLE IF NOT EXISTS beat_replay (
    id bigserial PRIMARY KEY,
    filter jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'paused', 'cancelled', 'done', 'failed')),
    publish boolean NOT NULL DEFAULT false,
    position jsonb,              -- of the last answer that is done with
    total bigint,                -- answers, as estimated at the start
    read bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    report jsonb,                -- what differed
    error text,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

-- +goose Down
DROP TABLE IF EXISTS beat_replay;
