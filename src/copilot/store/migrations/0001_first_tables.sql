-- Each statement ends with a semicolon at the end of a line and runs in a transaction of its own.
-- Written for Aurora DSQL; on PostgreSQL the runner leaves the word ASYNC out.

CREATE TABLE IF NOT EXISTS clusters (
    cluster text PRIMARY KEY,
    assessed_at timestamptz
);

CREATE TABLE IF NOT EXISTS metrics_snapshots (
    id uuid PRIMARY KEY,
    cluster text NOT NULL,
    evaluation_id text NOT NULL,
    time timestamptz NOT NULL,
    health_state text NOT NULL,
    stale boolean NOT NULL,
    bottleneck text NOT NULL,
    top_factor text,
    thresholds_hash text NOT NULL,
    taxonomy_version text NOT NULL,
    rules_version text NOT NULL,
    readings jsonb NOT NULL,
    memory_before jsonb NOT NULL,
    evaluation jsonb NOT NULL
);

CREATE INDEX ASYNC IF NOT EXISTS metrics_snapshots_by_time ON metrics_snapshots (cluster, time);

CREATE TABLE IF NOT EXISTS health_assessments (
    id uuid PRIMARY KEY,
    cluster text NOT NULL,
    evaluation_id text NOT NULL,
    trigger text NOT NULL,
    time timestamptz NOT NULL,
    health_state text NOT NULL,
    stale boolean NOT NULL,
    bottleneck text NOT NULL,
    top_factor text,
    explained_by text NOT NULL,
    summary text NOT NULL,
    assessment jsonb NOT NULL
);

CREATE INDEX ASYNC IF NOT EXISTS health_assessments_by_time ON health_assessments (cluster, time);

CREATE TABLE IF NOT EXISTS issues (
    id uuid PRIMARY KEY,
    cluster text NOT NULL,
    finding text NOT NULL,
    subject text NOT NULL,
    severity text NOT NULL,
    title text NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    resolved_at timestamptz,
    issue jsonb NOT NULL
);

CREATE INDEX ASYNC IF NOT EXISTS issues_by_resolution ON issues (cluster, resolved_at);

CREATE TABLE IF NOT EXISTS threshold_sets (
    hash text PRIMARY KEY,
    thresholds jsonb NOT NULL
);
