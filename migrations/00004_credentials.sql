-- +goose Up

-- What the fleet knows of a credential beside the contract's columns. failures
-- counts 429s and downs outages, each in a row: an outage says nothing of a
-- key, so neither lengthens the rests of the other.
ALTER TABLE credential
    -- Share of the calls among the rows of a source.
    ADD COLUMN IF NOT EXISTS weight integer NOT NULL DEFAULT 1,
    ADD COLUMN IF NOT EXISTS downs integer NOT NULL DEFAULT 0,
    -- When the last rest began, of either kind. Stays when someone clears
    -- disabled_till by hand, so that the next rest is still the longer one.
    ADD COLUMN IF NOT EXISTS rested_at timestamp,
    -- When the provider refused it. Null on a row that a person switched off,
    -- which is no reason for an alert.
    ADD COLUMN IF NOT EXISTS refused_at timestamp;

-- Wakes all processes, whoever wrote. The server folds the notifications of
-- one transaction into one.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION beat_credential_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('beat_credential', '');
    RETURN NULL;
END $$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS beat_credential_notify ON credential;
CREATE TRIGGER beat_credential_notify AFTER INSERT OR DELETE ON credential
    FOR EACH ROW EXECUTE FUNCTION beat_credential_notify();
DROP TRIGGER IF EXISTS beat_credential_notify_update ON credential;
CREATE TRIGGER beat_credential_notify_update AFTER UPDATE ON credential
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION beat_credential_notify();

-- +goose Down
DROP TRIGGER IF EXISTS beat_credential_notify ON credential;
DROP TRIGGER IF EXISTS beat_credential_notify_update ON credential;
DROP FUNCTION IF EXISTS beat_credential_notify();
