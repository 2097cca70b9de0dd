-- Changes of the watched clusters: deploys, restarts, routing. One is stored once, under a digest of what it is.

CREATE TABLE IF NOT EXISTS changes (
    id uuid PRIMARY KEY,
    cluster text NOT NULL,
    time timestamptz NOT NULL,
    kind text NOT NULL,
    source text NOT NULL,
    change jsonb NOT NULL
);

CREATE INDEX ASYNC IF NOT EXISTS changes_by_time ON changes (cluster, time);
