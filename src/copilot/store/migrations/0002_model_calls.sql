-- Calls of language models: what the daily budget is counted from, and what is kept for review.

CREATE TABLE IF NOT EXISTS model_calls (
    id uuid PRIMARY KEY,
    cluster text NOT NULL,
    evaluation_id text NOT NULL,
    time timestamptz NOT NULL,
    agent text NOT NULL,
    model text NOT NULL,
    fingerprint text NOT NULL,
    outcome text NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cost_usd double precision NOT NULL,
    unserved int NOT NULL,
    call jsonb NOT NULL
);

CREATE INDEX ASYNC IF NOT EXISTS model_calls_by_cluster ON model_calls (cluster, time);

CREATE INDEX ASYNC IF NOT EXISTS model_calls_by_time ON model_calls (time);
