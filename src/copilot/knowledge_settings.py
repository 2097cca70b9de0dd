"""`[knowledge]` of copilot.toml: where runbooks are looked up."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

AwsId = Annotated[str, Field(pattern=r"^[0-9a-zA-Z]{10}$")]


class KnowledgeSettings(BaseModel):
    """Where runbooks are looked up: those beside us (`local`), or a Bedrock Knowledge Base.

    `folder` has runbooks of your own, beside or in place of the shipped ones. `least_score` is the similarity from 0 to
    1 below which a passage is not used; unset, each source has its own. `bucket` and `prefix` are where `copilot kb
    sync` puts the files and `data_source_id` reads them; the prefix is empty or ends with `/`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["local", "bedrock"] = "local"
    folder: Path | None = None
    least_score: Annotated[float, Field(ge=0, le=1)] | None = None
    timeout_sec: Annotated[float, Field(gt=0, le=30)] = 5.0
    knowledge_base_id: AwsId | None = None
    data_source_id: AwsId | None = None
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] | None = None
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9!_.*'()-][A-Za-z0-9!_.*'()/-]*/)?$")] = "runbooks/"
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")] | None = None
    profile: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source == "bedrock" and self.knowledge_base_id is None:
            raise ValueError('source = "bedrock" needs knowledge_base_id')
        if self.data_source_id is not None and self.knowledge_base_id is None:
            raise ValueError("data_source_id needs knowledge_base_id")
        if (self.knowledge_base_id or self.bucket) and self.region is None:
            raise ValueError("knowledge_base_id and bucket need region")
        return self
