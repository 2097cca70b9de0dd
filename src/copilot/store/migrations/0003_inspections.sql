-- What was read beside the verdict: one document of each kind (executions, workers) and cluster, the newest.

CREATE TABLE IF NOT EXISTS inspections (
    id uuid PRIMARY KEY,
    cluster text NOT NULL,
    kind text NOT NULL,
    time timestamptz NOT NULL,
    document jsonb NOT NULL
);

CREATE INDEX ASYNC IF NOT EXISTS inspections_by_time ON inspections (cluster, time);
