-- Acknowledgements, silences and maintenance windows: their events, which are only ever added, so that nobody waits for
-- a lock and each act is on record. `until` is the last end that the mute may have; all its rows are kept as long.

CREATE TABLE IF NOT EXISTS mute_events (
    id uuid PRIMARY KEY,
    cluster text NOT NULL,
    until timestamptz NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    event jsonb NOT NULL
);

CREATE INDEX ASYNC IF NOT EXISTS mute_events_by_end ON mute_events (cluster, until);
