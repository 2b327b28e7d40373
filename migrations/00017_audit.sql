-- +goose Up

-- What RabbitMQ has confirmed of EVENTS, written in the transaction that moves the
-- bridge's position: see package audit. A row is a stretch of one shard, of what was
-- told within a minute. The stretches of a shard follow each other; between two of
-- them nobody has confirmed anything.
CREATE TABLE IF NOT EXISTS bridge_receipt (
    stream text NOT NULL,       -- identity of EVENTS, as in stream_position
    shard integer NOT NULL,
    from_seq bigint NOT NULL,   -- of EVENTS, excluded
    to_seq bigint NOT NULL,     -- included
    first_seq bigint NOT NULL,  -- of the first message of the shard after from_seq
    messages bigint,            -- that were confirmed; null: nobody has counted
    id_high bigint,             -- halves of the exclusive or
    id_low bigint,              -- of their event ids
    since timestamp NOT NULL,   -- when the first was confirmed
    PRIMARY KEY (stream, shard, from_seq)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);
-- What was told before this was kept.
INSERT INTO bridge_receipt (stream, shard, from_seq, to_seq, first_seq, since)
SELECT stream, shard, 0, applied, 0, now() AT TIME ZONE 'UTC' FROM stream_position WHERE reader = 'bridge'
ON CONFLICT DO NOTHING;

-- Hours that were audited, by the process that does so continuously.
CREATE TABLE IF NOT EXISTS beat_audit (
    hour timestamp PRIMARY KEY,  -- when it began
    audited_at timestamp NOT NULL,
    missing bigint NOT NULL,
    report jsonb NOT NULL
);

-- +goose Down
DROP TABLE IF EXISTS beat_audit, bridge_receipt;
