"""A change of a watched cluster: a deploy, a config change, a restart, a scaling, reported or seen."""

import hashlib
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from whenever import Instant

from copilot.redaction.redactor import redacted, redacted_name

Kind: TypeAlias = Literal[
    "deploy", "config", "restart", "scaling", "routing", "ramp", "build", "sdk_version", "server_version", "other"
]
"""`routing`, `ramp`: which version of a worker deployment gets tasks, or a share of them; `build`: a new build id."""
Touched: TypeAlias = Literal["namespace", "task_queue", "deployment", "build", "service", "instance"]
TOUCHED: tuple[Touched, ...] = ("namespace", "task_queue", "deployment", "build", "service", "instance")

MAX_TEXT, MAX_NAME, MAX_LINK = 300, 200, 500
Name = Annotated[str, Field(max_length=MAX_NAME)]


class Change(BaseModel):
    """One change. `at`: when it was made, or began. `who` made it. `source`: `told` by a person or a pipeline, or
    `seen` in what is read. `link`: a page about it. The other fields say what it touches; empty: not known. `text` of a
    change that is seen may grow (more workers restart)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cluster: str
    at: Instant
    kind: Kind
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    who: Name = ""
    source: Literal["told", "seen"] = "told"
    link: Annotated[str, Field(max_length=MAX_LINK)] = ""
    namespace: Name = ""
    task_queue: Name = ""
    deployment: Name = ""
    build: Name = ""
    service: Name = ""
    instance: Name = ""

    @property
    def digest(self) -> str:
        """The same for the same change, however often it is reported or seen."""
        text = self.text if self.source == "told" else ""
        parts = (self.cluster, self.at.round("second").format_iso(), self.kind, self.source, text)
        return hashlib.sha256("\n".join((*parts, *(getattr(self, t) for t in TOUCHED))).encode()).hexdigest()[:32]

    def cleaned(self, *, addresses: bool = False) -> Self:
        """The change without secrets and control characters, within the bounds of its fields. `addresses`: without IP
        addresses too. Names are called what they are called elsewhere."""
        names = {name: redacted_name(getattr(self, name), addresses=addresses)[:MAX_NAME] for name in ("who", *TOUCHED)}
        text = redacted(self.text, addresses=addresses)[:MAX_TEXT]
        return self.model_copy(update={**names, "text": text, "link": redacted(self.link)[:MAX_LINK]})
