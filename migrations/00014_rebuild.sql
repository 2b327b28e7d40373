-- +goose Up

-- A rebuild of projections, or the way back from one: see projections/rebuild.go.
CREATE TABLE IF NOT EXISTS beat_rebuild (
    id bigserial PRIMARY KEY,
    tables text[] NOT NULL,
    state text NOT NULL CHECK (state IN ('building', 'tried', 'swapped', 'failed', 'left')),
    kept text[] NOT NULL DEFAULT '{}', -- tables whose predecessors are there, as TABLE_before_ID
    back_from bigint,            -- the run whose tables were put back; null: built anew
    positions jsonb,             -- of the projections at the swap, by shard
    report jsonb,                -- what was read, what differed, how long writers stood still
    error text,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    swapped_at timestamp,
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

-- Notes the keys of the rows that a statement has changed: arguments are the table
-- that takes them, and the column that is the key. See projections/shadow.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION beat_note_keys() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    keys text := CASE TG_OP
        WHEN 'INSERT' THEN 'SELECT DISTINCT %2$I FROM now_rows'
        WHEN 'UPDATE' THEN 'SELECT %2$I FROM now_rows UNION SELECT %2$I FROM was_rows'
        ELSE 'SELECT DISTINCT %2$I FROM was_rows' END;
BEGIN
    EXECUTE format('INSERT INTO %1$I (key) ' || keys || ' ON CONFLICT DO NOTHING', TG_ARGV[0], TG_ARGV[1]);
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP TABLE IF EXISTS beat_rebuild;
DROP FUNCTION IF EXISTS beat_note_keys() CASCADE;
