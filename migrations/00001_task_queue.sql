-- +goose Up

-- Task queue. Columns of contract/postgres.md 1, then what the queue needs of
-- its own. Every statement also runs over a database of the existing system.
CREATE SEQUENCE IF NOT EXISTS crawl_dump_id_seq;
CREATE TABLE IF NOT EXISTS scrape_request_log (
    id bigint NOT NULL DEFAULT nextval('crawl_dump_id_seq'),
    idempotency_key text,
    platform text,
    source text,
    account_id text,
    flow text,
    status text,
    priority integer,
    params jsonb,
    data text,
    created_at timestamp,
    scraped_at timestamp,
    expires_at timestamp,
    picked_at timestamp,
    retry_count integer,
    CONSTRAINT crawl_dump_pkey PRIMARY KEY (id),
    CONSTRAINT scrape_request_log_idempotency_key_key UNIQUE (idempotency_key)
);
ALTER TABLE scrape_request_log
    ADD COLUMN IF NOT EXISTS account_id text,
    ADD COLUMN IF NOT EXISTS picked_at timestamp,
    ADD COLUMN IF NOT EXISTS retry_count integer,
    -- The lease of a PROCESSING row: who holds it, until when, and the fence
    -- that every write of this run must show. A run whose fence is not the
    -- row's is stale and writes nothing.
    ADD COLUMN IF NOT EXISTS lease_owner text,
    ADD COLUMN IF NOT EXISTS lease_until timestamp,
    ADD COLUMN IF NOT EXISTS fence bigint,
    -- Not to be claimed before; null: at once.
    ADD COLUMN IF NOT EXISTS run_at timestamp,
    -- Whether the PENDING event is out. Null: rows of other producers, which
    -- the existing system does not announce either.
    ADD COLUMN IF NOT EXISTS announced boolean,
    -- What the requester gave as reason; told in the PENDING event only.
    ADD COLUMN IF NOT EXISTS reason text,
    -- Requests that may share one run while it is PENDING or PROCESSING.
    ADD COLUMN IF NOT EXISTS join_key text;

-- Fences grow over all tasks and are never used twice, not even after a
-- claim was rolled back: two runs never derive the same message ids.
CREATE SEQUENCE IF NOT EXISTS beat_fence_seq;

-- Claim order: larger priority first, and a task gains one point of priority
-- for every minute it waits, so that none starves. Written as "virtual time
-- of arrival", that order never changes while a row waits and an index can
-- hold it. Partial, because finished rows outnumber waiting ones by far.
CREATE INDEX IF NOT EXISTS scrape_request_log_pending_idx ON scrape_request_log (
    flow,
    (coalesce(created_at, timestamp '2000-01-01') - coalesce(priority, 1) * interval '1 minute'),
    id
) WHERE status = 'PENDING';
-- Leases: how many of a flow are out, and which have run out.
CREATE INDEX IF NOT EXISTS scrape_request_log_lease_idx ON scrape_request_log (flow, lease_until)
    WHERE status = 'PROCESSING';
CREATE INDEX IF NOT EXISTS scrape_request_log_announce_idx ON scrape_request_log (id)
    WHERE announced = false;
CREATE UNIQUE INDEX IF NOT EXISTS scrape_request_log_join_idx ON scrape_request_log (join_key)
    WHERE join_key IS NOT NULL AND status IN ('PENDING', 'PROCESSING');
CREATE INDEX IF NOT EXISTS scrape_request_log_account_idx ON scrape_request_log (account_id, created_at DESC)
    WHERE account_id IS NOT NULL;

-- A row is written three times in its life (insert, claim, finish), and the
-- claim reads the partial index, from which each claim leaves a dead entry
-- behind. Vacuuming at the default 20 % of a large table would let thousands
-- of them pile up in front of every claim (measured in the existing system:
-- claims ten times slower within the hour). So: vacuum after a fixed number
-- of rows, without pauses, and leave room on the page for the next version.
ALTER TABLE scrape_request_log SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0,
    fillfactor = 80
);

-- Wakes the schedulers, whoever inserted. One notification per statement; the
-- server folds those of one transaction into one.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION beat_task_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('beat_task', '');
    RETURN NULL;
END $$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS beat_task_notify ON scrape_request_log;
CREATE TRIGGER beat_task_notify AFTER INSERT ON scrape_request_log
    FOR EACH STATEMENT EXECUTE FUNCTION beat_task_notify();

-- Which answers of a run are projected. A run's answers may arrive in any
-- order and in several parts; COMPLETE is written when all are there. The row
-- lives from the first to the last answer of the run.
CREATE TABLE IF NOT EXISTS task_progress (
    task_id bigint PRIMARY KEY,
    fence bigint NOT NULL,
    seen jsonb NOT NULL,   -- {"<seq>": {"n": parts, "got": [part, …]}, …}
    final jsonb,           -- {"seq": n, "status": …, "data": …} once known
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0);

-- How far each reader of the EVENTS stream has come, per shard. applied moves
-- in the transaction that writes the rows; told follows once what came of
-- them (task events) is published. stream tells a new stream from the old.
CREATE TABLE IF NOT EXISTS stream_position (
    reader text NOT NULL,
    shard integer NOT NULL,
    stream text NOT NULL,
    applied bigint NOT NULL,
    told bigint NOT NULL,
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (reader, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);

CREATE TABLE IF NOT EXISTS credential (
    id integer GENERATED BY DEFAULT AS IDENTITY NOT NULL,
    idempotency_key text,
    source text,
    credentials jsonb,
    handle text,
    created_at timestamp,
    updated_at timestamp,
    disabled_till timestamp,
    enabled boolean,
    data_access_expired boolean,
    CONSTRAINT credential_pkey PRIMARY KEY (id),
    CONSTRAINT credential_idempotency_key_key UNIQUE (idempotency_key)
);
ALTER TABLE credential
    ADD COLUMN IF NOT EXISTS disabled_till timestamp,
    ADD COLUMN IF NOT EXISTS enabled boolean,
    ADD COLUMN IF NOT EXISTS data_access_expired boolean,
    -- Why it is disabled, without the secret; and refusals in a row, which
    -- set how long it rests (10, 30, 60 minutes).
    ADD COLUMN IF NOT EXISTS reason text,
    ADD COLUMN IF NOT EXISTS failures integer NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS credential_source_handle_idx ON credential (source, handle);

-- +goose Down
DROP TABLE IF EXISTS stream_position, task_progress;
DROP TRIGGER IF EXISTS beat_task_notify ON scrape_request_log;
DROP FUNCTION IF EXISTS beat_task_notify();
