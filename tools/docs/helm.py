"""The Helm chart's README, written from its values and their comments: `python -m tools.docs.helm > …/README.md`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "temporal-sre-copilot"
INTRODUCTION = """\
# Helm chart: the Copilot on Kubernetes

Generated from values.yaml by `make docs`; do not edit.

Worker and API, a Job that updates the tables before each install and upgrade, and one that starts the loops after it. The chart brings
no database, no Temporal and no Secret. Before it you need: the [image](../../README.md#the-image) in your registry, a PostgreSQL, and a
Temporal for the Copilot's own loops, with its namespace, which is not the watched one.

```sh
kubectl create namespace copilot
kubectl -n copilot create secret generic copilot-store --from-literal=url='postgresql://copilot:PASSWORD@postgres:5432/copilot'
kubectl -n copilot create secret generic copilot-tokens --from-literal=tokens='{"me": "sha256:…"}'  # of: copilot token new me
helm install copilot deploy/helm/temporal-sre-copilot --namespace copilot --values values.yaml --wait
```

with, as the least values,

```yaml
{least}```

Helm prints what to do next: `copilot doctor` in the worker's pod shows which connections work. Other secrets are no values either:
[files](../../../docs/security.md) come by `secretFiles`, models' keys by `worker.existingSecret`, channels by
`notify.existingSecret`. After you change a Secret, restart: `kubectl -n copilot rollout restart deployment`.

- **Pods** run as user 10001 on a read-only root file system, without capabilities and with the default seccomp profile.
- **Network**: one NetworkPolicy per kind of pod lists what it calls, as `networkPolicy.egress` says. The ports are those of the
  pods behind a service, not the service's own. A source at another port needs an entry.
- **Discovery**: for `discover = "kubernetes:NAMESPACE/…"` in `config` add the namespace to `kubernetesDiscovery.namespaces`: the worker
  may then get and list pods there, and nothing else.
- **Monitoring**: `serviceMonitor`, `prometheusRule` and `grafana` need the Prometheus Operator and Grafana's sidecar.
- **Uninstall** leaves your database and the loops in your Temporal: `copilot start` of another installation resumes them.

Values that contradict each other are refused with the key's name. ci/ has the values with which the chart is tested: rendered by helm,
and each manifest checked by strict schemas. [What was run](../../README.md#kubernetes), and what was not: there were no nodes.

## Values
"""


def markdown() -> str:
    """The document."""
    least = (CHART / "ci" / "minimal-values.yaml").read_text(encoding="utf-8")
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    comments, values = dict(_comments(text)), yaml.safe_load(text)
    rows = [f"| `{path}` | {_shown(value)} | {comments.get(path, '')} |" for path, value in _leaves(values, comments)]
    sections = [
        f"- `{name}`: {comments[name]}" for name in values if name in comments and isinstance(values[name], dict)
    ]
    table = ["| value | default | |", "|---|---|---|", *rows]
    return "\n".join([INTRODUCTION.replace("{least}", least), *sections, "", *table]) + "\n"


def _comments(text: str) -> Iterator[tuple[str, str]]:
    """The comment above each key, by the key's path."""
    path: list[str] = []
    said: list[str] = []
    for line in text.splitlines():
        if comment := re.match(r"\s*# ?(.*)", line):
            said.append(comment[1])
        elif key := re.match(r"( *)(\w+):", line):
            path[len(key[1]) // 2 :] = [key[2]]
            if said:
                yield ".".join(path), " ".join(said).replace("|", "\\|")
            said = []
        else:
            said = []


def _leaves(values: dict[str, Any], comments: dict[str, str], at: str = "") -> Iterator[tuple[str, Any]]:
    """The values of which each is a row: what has keys of its own with comments or sections is not one."""
    for name, value in values.items():
        path = f"{at}{name}"
        inside = isinstance(value, dict) and value and name not in ("labels", "annotations")
        if inside and name not in ("resources", "egress"):
            yield from _leaves(value, comments, f"{path}.")
        elif name == "egress":
            yield path, None
            yield from ((f"{path}.{key}", called) for key, called in value.items())
        else:
            yield path, value


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"`{json.dumps(value, ensure_ascii=False)}`" if value not in ("", {}, []) else "–"


if __name__ == "__main__":
    print(markdown(), end="")
