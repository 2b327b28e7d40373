-- +goose Up

-- What the archive of raw answers holds: one row for each segment, an object of
-- S3 with an index beside it. Stored rows of a run follow each other without a
-- gap, unless RAW has lost something before the archive had it.
CREATE TABLE IF NOT EXISTS archive_segment (
    run bigint NOT NULL,             -- of sequences: when RAW was made, nanoseconds since 1970, plus how often it was set back
    first_seq bigint NOT NULL,       -- of RAW, both included
    last_seq bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('writing', 'stored', 'removing')),
    first_at timestamp NOT NULL,     -- when RAW stored the first and the last message
    last_at timestamp NOT NULL,
    observed_from timestamp NOT NULL, -- when the earliest and the latest answer came
    observed_to timestamp NOT NULL,
    count integer NOT NULL,          -- messages
    subjects text[] NOT NULL,        -- of the messages, each once: platform, source, fetch type
    object text NOT NULL,            -- its name, without .idx
    bytes bigint NOT NULL,           -- of the object
    sha256 bytea NOT NULL,
    index_bytes bigint NOT NULL,
    index_sha256 bytea NOT NULL,
    plain_bytes bigint NOT NULL,     -- of the messages, unpacked
    claimed_bytes bigint NOT NULL,   -- of large bodies that are objects of their own, unpacked
    created_at timestamp NOT NULL,
    retained_until timestamp,        -- set by a person: kept till then, whatever the configured retention says
    PRIMARY KEY (run, first_seq)
);

-- +goose Down
DROP TABLE IF EXISTS archive_segment;
