-- +goose Up

-- Observations that are kept back because a count fell too far, see package
-- quarantine. log is json and not jsonb: the order of a log and keys that occur
-- twice are a part of it.
CREATE TABLE IF NOT EXISTS beat_quarantine (
    id bigserial NOT NULL PRIMARY KEY,
    platform text NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    source text NOT NULL, -- of the credential
    raw_id text NOT NULL,
    task_id bigint NOT NULL,
    parser integer NOT NULL,
    observed_at timestamp NOT NULL,
    columns text[] NOT NULL, -- those that fell, with what
    stored bigint[] NOT NULL, -- was stored and what
    seen bigint[] NOT NULL, -- was seen, one by one
    log json NOT NULL,
    event_id uuid NOT NULL UNIQUE,
    state text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'confirmed', 'accepted', 'rejected', 'replaced')),
    reason text NOT NULL,
    confirm_task_id bigint, -- the task that looks again
    decided_by uuid, -- the event that confirmed or replaced it; null: nobody yet, or a person
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    decided_at timestamp
);
-- One at most is held of an entity: of two processes that see its counts fall
-- at once, one holds its observation and the other confirms it.
CREATE UNIQUE INDEX IF NOT EXISTS beat_quarantine_held_idx ON beat_quarantine (platform, key) WHERE state = 'held';
CREATE INDEX IF NOT EXISTS beat_quarantine_decided_by_idx ON beat_quarantine (decided_by) WHERE decided_by IS NOT NULL;

-- +goose Down
DROP TABLE IF EXISTS beat_quarantine;
