"""Says what the rules decided: from an evaluation alone, after the decision. Makes no decision."""

from copilot.explain.explanation import ExplainedEvaluation, explained, explained_as_of, explained_issue, freshness

__all__ = ["ExplainedEvaluation", "explained", "explained_as_of", "explained_issue", "freshness"]
