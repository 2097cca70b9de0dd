"""Calls of models in the table model_calls."""

from whenever import Instant

from copilot.core.budget import Spent
from copilot.core.model_call import SETTLED, UNSERVED, ModelCall
from copilot.store import sql
from copilot.store.codec import join_call, row_id, to_column, to_jsonb, to_text
from copilot.store.raw import Connection


async def save(connection: Connection, call: ModelCall) -> None:
    """Keep a call, or what has become of it."""
    await connection.execute(
        sql.SAVE_MODEL_CALL,
        row_id(*call.key), to_text(call.cluster), to_text(call.evaluation_id), to_column(call.time), call.agent,
        to_text(call.model), call.fingerprint, call.outcome.value, call.input_tokens, call.output_tokens,
        call.cost_usd, int(call.outcome in UNSERVED), to_jsonb(call),
    )  # fmt: skip


async def spend(connection: Connection, since: Instant) -> Spent:
    """What all calls since then took."""
    row = await connection.fetchrow(sql.MODEL_SPEND, to_column(since))
    return Spent() if row is None else Spent.model_validate(dict(row))


async def settled(connection: Connection, cluster: str, fingerprint: str) -> ModelCall | None:
    """The newest call that settled a situation."""
    row = await connection.fetchrow(sql.SETTLED_CALL, to_text(cluster), fingerprint, sorted(SETTLED))
    return None if row is None else join_call(row)


async def listed(connection: Connection, cluster: str, start: Instant, end: Instant, limit: int) -> list[ModelCall]:
    """The newest calls of a range, oldest first."""
    rows = await connection.fetch(sql.MODEL_CALLS, to_text(cluster), to_column(start), to_column(end), limit)
    return [join_call(row) for row in reversed(rows)]
