-- +goose Up

-- An event_id that a replay has told leads to its observation. Few rows have one.
CREATE INDEX IF NOT EXISTS profile_log_told_idx ON profile_log (told_id) WHERE told_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS post_log_told_idx ON post_log (told_id) WHERE told_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS post_activity_log_told_idx ON post_activity_log (told_id) WHERE told_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS profile_relationship_log_told_idx ON profile_relationship_log (told_id) WHERE told_id IS NOT NULL;

-- +goose Down
DROP INDEX IF EXISTS profile_log_told_idx, post_log_told_idx, post_activity_log_told_idx, profile_relationship_log_told_idx;
