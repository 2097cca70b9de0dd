"""Every statement of the store, in the subset that PostgreSQL and Aurora DSQL share."""

KNOW_CLUSTER = "INSERT INTO clusters (cluster) VALUES ($1) ON CONFLICT DO NOTHING"
# Concurrent assessments of one cluster conflict on this row, so that neither misses the other's issues.
TOUCH_CLUSTER = """
UPDATE clusters SET assessed_at = greatest(coalesce(assessed_at, $2::timestamptz), $2::timestamptz) WHERE cluster = $1
"""
CLUSTERS = "SELECT cluster FROM clusters ORDER BY cluster"

INSERT_SNAPSHOT = """
INSERT INTO metrics_snapshots (id, cluster, evaluation_id, time, health_state, stale, bottleneck, top_factor,
                               thresholds_hash, taxonomy_version, rules_version, readings, memory_before, evaluation)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::jsonb, $13::jsonb, $14::jsonb)
ON CONFLICT DO NOTHING
"""
COUNT_SNAPSHOTS = "SELECT count(*) FROM metrics_snapshots WHERE id = ANY($1::uuid[])"
SNAPSHOT_AT = """
SELECT thresholds_hash, taxonomy_version, rules_version, readings, memory_before, evaluation
FROM metrics_snapshots WHERE cluster = $1 AND time <= $2 ORDER BY time DESC LIMIT 1
"""
# Every change, the ends, and at least $4 evenly spaced rows between them: about what the result may hold.
TIMELINE = """
SELECT id, time, health_state, stale, bottleneck, top_factor FROM (
    SELECT id, time, health_state, stale, bottleneck, top_factor,
           lag(health_state) OVER (ORDER BY time) AS state_before, lag(stale) OVER (ORDER BY time) AS stale_before,
           row_number() OVER (ORDER BY time) AS n, count(*) OVER () AS total
    FROM metrics_snapshots WHERE cluster = $1 AND time >= $2 AND time <= $3
) AS verdicts
WHERE state_before IS DISTINCT FROM health_state OR stale_before IS DISTINCT FROM stale OR n = total
   OR n % greatest(1, total / $4::bigint) = 0
ORDER BY time
"""
READINGS = "SELECT id, readings FROM metrics_snapshots WHERE id = ANY($1::uuid[])"
# The lowest and the highest of $5 parts; a part without any value gives one row without.
SERIES = """
SELECT time, value FROM (
    SELECT time, value, row_number() OVER (PARTITION BY part ORDER BY value, time) AS from_below,
           row_number() OVER (PARTITION BY part ORDER BY value DESC NULLS LAST, time) AS from_above
    FROM (
        SELECT time, (readings ->> $2)::double precision AS value, ntile($5::int) OVER (ORDER BY time) AS part
        FROM metrics_snapshots WHERE cluster = $1 AND time >= $3 AND time <= $4
    ) AS cut
) AS ranked
WHERE from_below = 1 OR from_above = 1 ORDER BY time
"""

INSERT_ASSESSMENT = """
INSERT INTO health_assessments (id, cluster, evaluation_id, trigger, time, health_state, stale, bottleneck, top_factor,
                                explained_by, summary, assessment)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::jsonb)
ON CONFLICT DO NOTHING
"""
STORED_ASSESSMENT = "SELECT assessment FROM health_assessments WHERE id = $1"
REWORD_ASSESSMENT = "UPDATE health_assessments SET explained_by = $2, assessment = $3::jsonb WHERE id = $1"
ASSESSMENT_AT = """
SELECT assessment FROM health_assessments WHERE cluster = $1 AND time <= $2 ORDER BY time DESC LIMIT 1
"""
ASSESSMENTS = """
SELECT assessment FROM health_assessments
WHERE cluster = $1 AND time >= $2 AND time <= $3 ORDER BY time DESC LIMIT $4
"""
NEXT_ASSESSMENT = """
SELECT assessment FROM health_assessments WHERE cluster = $1 AND time > $2 ORDER BY time LIMIT 1
"""

INSERT_THRESHOLDS = "INSERT INTO threshold_sets (hash, thresholds) VALUES ($1, $2::jsonb) ON CONFLICT DO NOTHING"
THRESHOLDS = "SELECT thresholds FROM threshold_sets WHERE hash = $1"

ISSUES_UNRESOLVED_AT = "SELECT issue FROM issues WHERE cluster = $1 AND (resolved_at IS NULL OR resolved_at > $2)"
UPSERT_ISSUE = """
INSERT INTO issues (id, cluster, finding, subject, severity, title, first_seen, last_seen, resolved_at, issue)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb)
ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, title = excluded.title, first_seen = excluded.first_seen,
    last_seen = excluded.last_seen, resolved_at = excluded.resolved_at, issue = excluded.issue
"""
# "critical" sorts before "warning".
ISSUES = """
SELECT issue FROM issues WHERE cluster = $1 AND resolved_at IS NULL
ORDER BY severity, last_seen DESC, first_seen, finding, subject LIMIT $2
"""
# Sorted as the index issues_by_resolution, read backwards: any other order would read and sort all of a week.
RESOLVED_ISSUES = """
SELECT issue FROM issues WHERE cluster = $1 AND resolved_at IS NOT NULL AND ($2::text IS NULL OR severity = $2)
ORDER BY resolved_at DESC, severity, last_seen DESC, first_seen, finding, subject LIMIT $3
"""

SAVE_MODEL_CALL = """
INSERT INTO model_calls (id, cluster, evaluation_id, time, agent, model, fingerprint, outcome, input_tokens,
                         output_tokens, cost_usd, unserved, call)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::jsonb)
ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, input_tokens = excluded.input_tokens,
    output_tokens = excluded.output_tokens, cost_usd = excluded.cost_usd, unserved = excluded.unserved,
    call = excluded.call
"""
MODEL_SPEND = """
SELECT count(*) AS calls, coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
       coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
       coalesce(sum(cost_usd), 0)::double precision AS cost_usd, coalesce(sum(unserved), 0)::bigint AS unserved
FROM model_calls WHERE time >= $1
"""
SETTLED_CALL = """
SELECT call FROM model_calls WHERE cluster = $1 AND fingerprint = $2 AND outcome = ANY($3::text[])
ORDER BY time DESC LIMIT 1
"""

SAVE_INSPECTION = """
INSERT INTO inspections (id, cluster, kind, time, document) VALUES ($1, $2, $3, $4, $5::jsonb)
ON CONFLICT (id) DO UPDATE SET time = excluded.time, document = excluded.document
"""
INSPECTION = "SELECT document FROM inspections WHERE id = $1 AND time > $2"
COUNT_CHANGES = "SELECT count(*) FROM changes WHERE id = ANY($1::uuid[])"
# What is seen of a change may grow: more workers restart.
SAVE_CHANGE = """
INSERT INTO changes (id, cluster, time, kind, source, change) VALUES ($1, $2, $3, $4, $5, $6::jsonb)
ON CONFLICT (id) DO UPDATE SET change = excluded.change
"""
CHANGES = """
SELECT change FROM changes WHERE cluster = $1 AND time >= $2 AND time <= $3 ORDER BY time DESC, id LIMIT $4
"""

INSERT_INCIDENT_ENTRY = """
INSERT INTO incident_entries (id, cluster, time, entry) VALUES ($1, $2, $3, $4::jsonb)
ON CONFLICT (id) DO NOTHING
"""
INCIDENT_ENTRIES = """
SELECT entry FROM incident_entries WHERE cluster = $1 AND time >= $2 AND time <= $3 ORDER BY time DESC LIMIT $4
"""
INSERT_MUTE_EVENT = """
INSERT INTO mute_events (id, cluster, until, at, kind, event) VALUES ($1, $2, $3, $4, $5, $6::jsonb)
ON CONFLICT DO NOTHING
"""
MUTE_EVENTS = """
SELECT event FROM mute_events WHERE cluster = $1 AND until >= $2
ORDER BY CASE WHEN kind = 'held' THEN 1 ELSE 0 END, at DESC, id LIMIT $3
"""

# Old rows by table; each uses an index of (cluster, time).
_OLD = {
    "metrics_snapshots": "metrics_snapshots WHERE cluster = $1 AND time < $2",
    "health_assessments": "health_assessments WHERE cluster = $1 AND time < $2",
    "issues": "issues WHERE cluster = $1 AND resolved_at < $2",
    "changes": "changes WHERE cluster = $1 AND time < $2",
    "model_calls": "model_calls WHERE cluster = $1 AND time < $2::timestamptz - interval '1 day'",
    "inspections": "inspections WHERE cluster = $1 AND time < $2",
    "mute_events": "mute_events WHERE cluster = $1 AND until < $2",
    "incident_entries": "incident_entries WHERE cluster = $1 AND time < $2",
}
COUNT_OLD = {table: f"SELECT count(*) FROM {old}" for table, old in _OLD.items()}
PRUNE = {table: f"DELETE FROM {table} WHERE id IN (SELECT id FROM {old} LIMIT $3)" for table, old in _OLD.items()}

_DICTS = {"COUNT_OLD": COUNT_OLD, "PRUNE": PRUNE}
NAMES = {text: name for name, text in list(globals().items()) if name.isupper() and isinstance(text, str)}
NAMES |= {text: f"{name} {table}" for name, each in _DICTS.items() for table, text in each.items()}
NAMES["COMMIT;"] = "COMMIT"
"""Names of statements, for traces."""
