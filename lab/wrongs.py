"""What went wrong in a judged run, in words."""

from collections.abc import Iterator

from lab.judge import Miss, RunScore
from lab.labels import label_of


def wrongs(run: RunScore) -> Iterator[str]:
    """What went wrong in a run, shortest first to read: each kind of thing once."""
    if run.missed:
        yield "the incident was missed"
    by_said: dict[tuple[str, tuple[str, ...]], list[Miss]] = {}
    for miss in run.wrong:
        by_said.setdefault((miss.said.value, tuple(miss.right)), []).append(miss)
    for (said, right), misses in by_said.items():
        when = f"{misses[0].at_sec:.0f}" + (f"…{misses[-1].at_sec:.0f}" if len(misses) > 1 else "")
        yield f"{said} instead of {' or '.join(right)} at {when} s (×{len(misses)})"
    if run.cause.right < run.cause.judged:
        accepted = label_of(run.scenario).cause
        said_first = [f"{name} ×{times}" for name, times in run.causes_said.items() if name not in accepted]
        silent = run.cause.judged - run.cause.right - sum(run.causes_said[n.split(" ×")[0]] for n in said_first)
        yield "cause " + ", ".join([*said_first, *([f"not named ×{silent}"] if silent > 0 else [])])
    if run.bottleneck.right < run.bottleneck.judged:
        yield f"bottleneck wrong ×{run.bottleneck.judged - run.bottleneck.right}"
    if run.broken_never:
        yield f"never {', '.join(run.broken_never)}, and it was said"
    if run.forbidden_advice:
        yield f"advised to {' and to '.join(run.forbidden_advice)}"
