-- +goose Up

-- Whether a message that is delivered again had its task made a moment ago, see
-- streams/listen: that task may have ended, and scrape_request_log_join_idx has
-- only those that have not.
CREATE INDEX IF NOT EXISTS scrape_request_log_listen_idx ON scrape_request_log (join_key, created_at)
    WHERE flow IN ('fetch_keyword_collection', 'fetch_sentiment_report');

-- +goose Down
DROP INDEX IF EXISTS scrape_request_log_listen_idx;
