"""What `helm` renders of our chart, and what is wrong with a manifest: by Kubernetes' own strict schemas, and for the
Prometheus Operator's two kinds by a strict schema of what we use of them (monitoring.coreos.com/v1)."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from tests.deploy.dockerfile import DEPLOY

CHART = DEPLOY / "helm" / "temporal-sre-copilot"
CASES = sorted((CHART / "ci").glob("*.yaml"))
INSTALLED = DEPLOY.parent / ".helm" / "helm"
HELM = shutil.which("helm") or str(INSTALLED)
Manifest = dict[str, Any]


def _strict(properties: Manifest, *required: str) -> Manifest:
    return {"type": "object", "properties": properties, "additionalProperties": False, "required": list(required)}


_TEXT: Manifest = {"type": "string", "minLength": 1}
_TEXTS: Manifest = {"type": "object", "additionalProperties": {"type": "string"}}
_DURATION: Manifest = {"type": "string", "pattern": "^(0|([0-9]+(ms|s|m|h|d|w|y))+)$"}
_KEY = _strict({"name": _TEXT, "key": _TEXT, "optional": {"type": "boolean"}}, "name", "key")
_ENDPOINT = _strict(
    {
        "port": _TEXT,
        "path": _TEXT,
        "interval": _DURATION,
        "honorLabels": {"type": "boolean"},
        "authorization": _strict({"type": _TEXT, "credentials": _KEY}, "credentials"),
    },
    "port",
)
_RULE = _strict(
    {"alert": _TEXT, "expr": _TEXT, "for": _DURATION, "labels": _TEXTS, "annotations": _TEXTS}, "alert", "expr"
)
_GROUP = _strict({"name": _TEXT, "rules": {"type": "array", "items": _RULE}}, "name")
_SPECS = {
    "ServiceMonitor": _strict(
        {"selector": _strict({"matchLabels": _TEXTS}), "endpoints": {"type": "array", "items": _ENDPOINT}},
        "selector",
        "endpoints",
    ),
    "PrometheusRule": _strict({"groups": {"type": "array", "items": _GROUP}}, "groups"),
}
_METADATA = _strict({"name": _TEXT, "namespace": _TEXT, "labels": _TEXTS, "annotations": _TEXTS}, "name")
OPERATOR = "monitoring.coreos.com/v1"


@cache
def _validator(kind: str, api: str, version: str) -> jsonschema.Draft202012Validator:
    if api == OPERATOR:
        whole = {"apiVersion": {"const": api}, "kind": {"const": kind}, "metadata": _METADATA, "spec": _SPECS[kind]}
        return jsonschema.Draft202012Validator(_strict(whole, *whole))
    group, _, number = api.rpartition("/")
    name = f"{kind}-{group.partition('.')[0]}{'-' if group else ''}{number}".lower()
    folder = f"kubernetes-json-schema/{version}-local-strict"
    return jsonschema.Draft202012Validator(schema_contents(f"{folder}/{name}.json", version), registry=_known(folder))


@cache
def _known(folder: str) -> Registry[Any]:
    definitions = schema_contents(f"{folder}/_definitions.json", "")
    return Resource.from_contents(definitions) @ Registry()


def versions() -> tuple[str, str]:
    """The oldest Kubernetes that the chart says it is for, and the newest whose schemas we have."""
    oldest = str(yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]).strip(">=").partition(".0-")[0]
    known = [f"v{each}" for each in kubernetes_validate.utils.all_versions()]
    return next(each for each in known if each.startswith(f"v{oldest}.")), known[-1]


def problems(manifest: Manifest, version: str) -> list[str]:
    """What is wrong with a manifest; FileNotFoundError for a kind that this version does not have."""
    validator = _validator(manifest["kind"], manifest["apiVersion"], version)
    return [f"{each.json_path}: {each.message}" for each in validator.iter_errors(manifest)]


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it."""
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, check=False, timeout=120)


def template(*arguments: str | Path) -> list[Manifest]:
    """The manifests of a release `copilot` in namespace `sre`; AssertionError with what helm says if it refuses."""
    done = helm("template", "copilot", CHART, "--namespace", "sre", *arguments)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]
