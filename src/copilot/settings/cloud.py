"""`cloud` of a `[[clusters]]` section: namespaces of Temporal Cloud that are watched as one cluster. Values only."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from copilot.settings.sources import HttpUrl, Section, reject

METRICS_URL = "https://metrics.temporal.io/v1/metrics"
KEY_VARIABLE = "TEMPORAL_API_KEY"
NamespaceId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*\.[a-z0-9]+$")]


class CloudSettings(Section):
    """Namespaces of Temporal Cloud. `namespaces` are whole ids, as `payments.a1b2c`, of one account. The API key is
    `api_key`, or in `api_key_file`, or in the environment (TEMPORAL_API_KEY): of a service account that may read the
    account's metrics and these namespaces. The API is reached at the namespace's endpoint; several namespaces need
    their `region`, as `aws-us-east-1`. [clusters.temporal], where given, says how it is reached instead (mTLS by a
    TEMPORAL_* profile). `metrics`: where Cloud's metrics are read, at its own `endpoint` (`metrics_url`) or from the
    cluster's `prometheus`, which must scrape that endpoint."""

    namespaces: Annotated[tuple[NamespaceId, ...], Field(min_length=1, max_length=50)]
    api_key: SecretStr | None = None
    api_key_file: Path | None = None
    region: Annotated[str, Field(pattern=r"^(aws|gcp)-[a-z0-9-]+$")] | None = None
    metrics: Literal["endpoint", "prometheus"] = "endpoint"
    metrics_url: HttpUrl = METRICS_URL

    @model_validator(mode="after")
    def _one_account(self) -> Self:
        accounts = sorted({namespace.rpartition(".")[2] for namespace in self.namespaces})
        reject({
            "choose one of api_key and api_key_file": self.api_key is not None and self.api_key_file is not None,
            f"namespaces of several accounts ({', '.join(accounts)}): give each account a cluster": len(accounts) > 1,
        })  # fmt: skip
        return self

    @property
    def key(self) -> SecretStr | Path | None:
        """The API key, or the file that holds it; None where neither settings nor environment have one."""
        if self.api_key is not None or self.api_key_file is not None:
            return self.api_key or self.api_key_file
        named = os.environ.get(KEY_VARIABLE, "").strip()
        return SecretStr(named) if named else None

    @property
    def address(self) -> str | None:
        """The gRPC endpoint: that of the region, or of the only namespace; None where several need a region."""
        if self.region is not None:
            provider, _, region = self.region.partition("-")
            return f"{region}.{provider}.api.temporal.io:7233"
        return f"{self.namespaces[0]}.tmprl.cloud:7233" if len(self.namespaces) == 1 else None
