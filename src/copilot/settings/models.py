"""`[models]` and `[knowledge]` of copilot.toml: the language models, their budget, and the runbooks. Values only."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from copilot.settings.sources import HttpUrl, Section, reject, valid

_MODEL = re.compile(r"test|[a-z][a-z0-9/_-]{0,40}:[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,160}")
_NO_MODEL = '{} is not a model: write provider:model, for example "anthropic:claude-sonnet-5-5"'
ModelName = Annotated[str, valid(_MODEL.fullmatch, _NO_MODEL)]
"""As pydantic-ai names models: `provider:model`."""

BEDROCK_DISPATCHER = "bedrock:us.anthropic.claude-sonnet-5-5"
BEDROCK_RESEARCHER = "bedrock:us.anthropic.claude-opus-5-5"
"""Defaults of deployments: Claude by its US inference profiles; `eu.` and `global.` exist."""

OutputMode = Literal["tool", "json_schema", "prompted"]
"""How a model is made to answer in the required structure."""

Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that models may take in a UTC day."""

    usd: float
    tokens: int


NO_MODEL = Cap(0.0, 0)


class ModelSettings(Section):
    """Which models explain. None: the rules explain, and nothing leaves this machine.

    Rules decide how much explanation a situation needs: `dispatcher` is a fast model for quick explanations,
    `researcher` a larger one for deep ones; with only one of them configured it writes both. `region` is for Bedrock,
    `base_url` for a server that speaks OpenAI's protocol (a local one, for example). Keys do not belong here: providers
    take them from the environment variables they document. `daily_usd` and `daily_tokens` cap what all clusters
    together may use in a UTC day. `timeout_sec` is for one explanation as a whole: the workflow ends within 30 s.
    `output` is how a model is made to answer in the required structure: it calls a `tool`, or its server holds it to a
    `json_schema`, or it is only `prompted`; `auto` is json_schema with `base_url`, else tool. `redact_addresses`: IP
    addresses are redacted, too."""

    dispatcher: ModelName | None = None
    researcher: ModelName | None = None
    region: Region | None = None
    base_url: HttpUrl | None = None
    output: Literal["auto", OutputMode] = "auto"
    daily_usd: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] = 5.0
    daily_tokens: Annotated[int, Field(gt=0, le=1_000_000_000)] = 2_000_000
    timeout_sec: Annotated[float, Field(ge=1, le=23)] = 22.0
    redact_addresses: bool = True

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        named = [m for m in (self.dispatcher, self.researcher) if m]
        bedrock, speaks = (
            any(m.startswith(p) for m in named) for p in ("bedrock:", ("openai:", "openai-chat:", "ollama:"))
        )
        reject({
            "models on Bedrock need region": bedrock and self.region is None,
            "base_url is for models of openai:, openai-chat: or ollama:": self.base_url is not None and not speaks,
        })  # fmt: skip
        return self

    @property
    def any(self) -> bool:
        """Whether a model is configured."""
        return self.dispatcher is not None or self.researcher is not None

    @property
    def output_mode(self) -> OutputMode:
        """The output mode. Servers of one's own hold any model to a schema, while few of theirs call tools well."""
        if self.output != "auto":
            return self.output
        return "json_schema" if self.base_url is not None else "tool"

    @property
    def cap(self) -> Cap:
        """The daily cap; nothing without a model."""
        return Cap(self.daily_usd, self.daily_tokens) if self.any else NO_MODEL


AwsId = Annotated[str, Field(pattern=r"^[0-9a-zA-Z]{10}$")]


class KnowledgeSettings(Section):
    """Where runbooks are looked up: those beside us (`local`), or a Bedrock Knowledge Base.

    `folder` has runbooks of your own, beside or in place of the shipped ones. `least_score` is the similarity from 0 to
    1 below which a passage is not used; unset, each source has its own. `bucket` and `prefix` are where `copilot kb
    sync` puts the files and `data_source_id` reads them; the prefix is empty or ends with `/`."""

    source: Literal["local", "bedrock"] = "local"
    folder: Path | None = None
    least_score: Annotated[float, Field(ge=0, le=1)] | None = None
    timeout_sec: Annotated[float, Field(gt=0, le=30)] = 5.0
    knowledge_base_id: AwsId | None = None
    data_source_id: AwsId | None = None
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] | None = None
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9!_.*'()-][A-Za-z0-9!_.*'()/-]*/)?$")] = "runbooks/"
    region: Region | None = None
    profile: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        no_base = self.knowledge_base_id is None
        reject({
            'source = "bedrock" needs knowledge_base_id': no_base and self.source == "bedrock",
            "data_source_id needs knowledge_base_id": no_base and self.data_source_id is not None,
            "knowledge_base_id and bucket need region": self.region is None and (self.bucket or not no_base),
        })  # fmt: skip
        return self
