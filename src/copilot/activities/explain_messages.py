"""What AssessHealthWorkflow and the activities that explain say to each other. As in messages.py: fields are only ever
added."""

from copilot.activities.messages import Document, Message

LEAST_SEC = 1.0
"""In less time no model is asked."""


class AskModel(Message):
    """Ask a model about an assessment (an Evaluation document in the rules' words), within `deadline_sec`. `passages`
    are Passage documents of runbooks."""

    evaluation: Document
    trigger: str
    deadline_sec: float
    passages: list[Document] = []


class ModelAsked(Message):
    """`explanation` is an Explanation document to be kept: the model's words, checked, or the rules' with a note that
    says why; None: nothing to change. `deeper`: the researcher is to be asked."""

    explanation: Document | None = None
    deeper: bool = False


class FetchRagContext(Message):
    """Find the passages of runbooks that fit an assessment's findings, within `deadline_sec`."""

    evaluation: Document
    deadline_sec: float


class RagContext(Message):
    """Passage documents, best first; where there are none and should be, why."""

    passages: list[Document] = []
    reason: str = ""


class ImproveExplanation(Message):
    """Put a stored assessment into the words of an Explanation document."""

    evaluation_id: str
    trigger: str
    explanation: Document


class ExplanationImproved(Message):
    """False: there is no such assessment."""

    kept: bool
