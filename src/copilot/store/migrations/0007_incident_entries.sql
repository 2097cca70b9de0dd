-- What was done about incidents: notifications that were sent or not, and notes of people. Only ever added.

CREATE TABLE IF NOT EXISTS incident_entries (
    id uuid PRIMARY KEY,
    cluster text NOT NULL,
    time timestamptz NOT NULL,
    entry jsonb NOT NULL
);

CREATE INDEX ASYNC IF NOT EXISTS incident_entries_by_time ON incident_entries (cluster, time);
