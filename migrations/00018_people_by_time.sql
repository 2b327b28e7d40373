-- +goose Up

-- A replay looks up what an answer has said by when it was observed. Rows come in
-- about that order, which a BRIN index follows at next to no cost for writers.
CREATE INDEX IF NOT EXISTS post_activity_log_time_idx ON post_activity_log
    USING brin ("timestamp") WITH (pages_per_range = 16, autosummarize = on);
CREATE INDEX IF NOT EXISTS profile_relationship_log_time_idx ON profile_relationship_log
    USING brin ("timestamp") WITH (pages_per_range = 16, autosummarize = on);

-- +goose Down
DROP INDEX IF EXISTS post_activity_log_time_idx, profile_relationship_log_time_idx;
