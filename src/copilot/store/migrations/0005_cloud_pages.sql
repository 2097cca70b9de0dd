-- The newest page of each account of Temporal Cloud, which all workers share: an account allows few reads.

CREATE TABLE IF NOT EXISTS cloud_pages (
    account text PRIMARY KEY,
    next_at timestamptz NOT NULL,
    completeness text NOT NULL,
    failure_code text NOT NULL,
    failure text NOT NULL,
    page bytea NOT NULL
);
