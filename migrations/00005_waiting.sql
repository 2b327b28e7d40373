-- +goose Up

-- What a task waits for, and how it goes on.
ALTER TABLE scrape_request_log
    -- The ask that a run goes on with once it is claimed again: it was put back
    -- because its wait is long (see waits_for), and keeps its fence. Null: the
    -- run begins with the first ask of its flow.
    ADD COLUMN IF NOT EXISTS resume jsonb,
    -- Such as "credential:graphapi"; set with run_at, for people and for whoever
    -- sees that the wait is over sooner.
    ADD COLUMN IF NOT EXISTS waits_for text;

-- A claim must not step over the tasks that wait for a later time, of which
-- there may be many. So they are in an index of their own, and become claimable
-- when a scheduler sets their run_at to null.
CREATE INDEX IF NOT EXISTS scrape_request_log_ready_idx ON scrape_request_log (
    flow,
    (coalesce(created_at, timestamp '2000-01-01') - coalesce(priority, 1) * interval '1 minute'),
    id
) WHERE status = 'PENDING' AND run_at IS NULL;
DROP INDEX IF EXISTS scrape_request_log_pending_idx;
CREATE INDEX IF NOT EXISTS scrape_request_log_waiting_idx ON scrape_request_log (run_at, waits_for)
    WHERE status = 'PENDING' AND run_at IS NOT NULL;

-- What a person has paused: a flow is not claimed, a source is not asked.
CREATE TABLE IF NOT EXISTS beat_pause (
    name text PRIMARY KEY, -- of a flow or of a source
    kind text NOT NULL CHECK (kind IN ('flow', 'source')),
    until timestamp,       -- null: until it is resumed
    reason text,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

-- +goose Down
CREATE INDEX IF NOT EXISTS scrape_request_log_pending_idx ON scrape_request_log (
    flow,
    (coalesce(created_at, timestamp '2000-01-01') - coalesce(priority, 1) * interval '1 minute'),
    id
) WHERE status = 'PENDING';
DROP INDEX IF EXISTS scrape_request_log_ready_idx, scrape_request_log_waiting_idx;
DROP TABLE IF EXISTS beat_pause;
