"""What to do, in the order in which to do it."""

from collections.abc import Iterable
from dataclasses import dataclass

from copilot.core.assessment import Issue, SuggestedAction


@dataclass(frozen=True, slots=True)
class Remedy:
    """An action and the finding it is for."""

    action: SuggestedAction
    finding: Issue


def remedies(findings: Iterable[Issue]) -> list[Remedy]:
    """The findings' actions as they are ranked, each once."""
    found: list[Remedy] = []
    for finding in findings:
        for action in finding.suggested_actions:
            if all(action != known.action for known in found):
                found.append(Remedy(action, finding))
    return found
