"""The Helm chart, rendered by helm for each file of its ci/: valid by strict schemas, hardened, without a secret, and
what it names exists. deploy/README.md says what was tried on a real API server."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from copilot import __version__
from copilot.cli.main import app
from copilot.grafana.files import PAGE, committed
from copilot.settings.load import Settings, load_settings
from tests.deploy.manifests import CASES, CHART, HELM, Manifest, helm, problems, template, versions
from tests.deploy.test_environment_names import known
from tools.docs.helm import markdown

pytestmark = pytest.mark.skipif(not Path(HELM).exists(), reason="needs helm: make check-deploy installs it")
VALUES: Manifest = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Manifest = json.loads((CHART / "values.schema.json").read_text())
MINIMAL = CHART / "ci" / "minimal-values.yaml"
EVERYTHING = CHART / "ci" / "everything-values.yaml"
each_case = pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.partition("-")[0])


@cache
def rendered(case: Path) -> list[Manifest]:
    return template("-f", case)


def of_kind(case: Path, *kinds: str) -> dict[str, Manifest]:
    return {f"{m['metadata']['name']}": m for m in rendered(case) if m["kind"] in kinds}


def pods(case: Path) -> dict[str, Manifest]:
    """The templates of pods, by component."""
    made = of_kind(case, "Deployment", "Job").values()
    return {m["metadata"]["labels"]["app.kubernetes.io/component"]: m["spec"]["template"] for m in made}


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield str(key), inner
        yield from walk(inner)


@each_case
def test_every_manifest_is_valid_by_strict_schemas_and_helm_finds_nothing_to_say(case: Path) -> None:
    done = helm("lint", "--strict", CHART, "-f", case)
    assert done.returncode == 0, done.stdout
    wrong = [f"{m['kind']} {m['metadata']['name']} in {v}: {p}" for v in versions() for m in rendered(case)
             for p in problems(m, v)]  # fmt: skip
    assert wrong == []
    names = [(m["kind"], m["metadata"]["namespace"], m["metadata"]["name"]) for m in rendered(case)]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, _, name in names)


def test_a_mistake_in_a_manifest_is_found() -> None:
    for kind, path, value in (
        ("Deployment", ("spec", "template", "spec", "hostNetwrok"), True),
        ("PodDisruptionBudget", ("spec", "maxUnavailable"), [1]),
        ("ServiceMonitor", ("spec", "endpoints", 0, "honourLabels"), True),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "for"), "soon"),
    ):
        manifest = json.loads(json.dumps(next(iter(of_kind(EVERYTHING, kind).values()))))
        inner = manifest
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        assert problems(manifest, versions()[1])


@each_case
def test_every_pod_is_hardened_and_probed_and_runs_a_command_of_ours(case: Path) -> None:
    for component, pod in pods(case).items():
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
        }  # fmt: skip
        assert {"requests", "limits"} == set(container["resources"])
        assert [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")] == ["/tmp"]
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in spec["volumes"]}
        if component in ("worker", "api"):
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
            ports = {port["name"] for port in container["ports"]}
            used = [v["port"] for k, v in walk(container) if k in ("httpGet", "tcpSocket")]
            assert set(used) <= ports
            assert len(spec["topologySpreadConstraints"]) == 2
        commands = [container["args"], *(v["command"][1:] for k, v in walk(container) if k == "exec")]
        for words in commands:
            assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0, words
        names = [each["name"] for each in container["env"]]
        assert len(set(names)) == len(names)
        assert [name for name in names if not known(name)] == []
    listing = {c for c, pod in pods(case).items() if pod["spec"]["automountServiceAccountToken"]}
    assert listing == ({"worker"} if of_kind(case, "Role") else set())


@each_case
def test_what_selects_or_names_something_finds_it(case: Path) -> None:
    labels = {component: pod["metadata"]["labels"] for component, pod in pods(case).items()}

    def selected(selector: dict[str, str], among: dict[str, dict[str, str]]) -> list[str]:
        return [name for name, has in among.items() if selector.items() <= has.items()]

    services = of_kind(case, "Service")
    for manifest in rendered(case):
        component = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        spec = manifest.get("spec", {})
        match manifest["kind"]:
            case "Service":
                assert selected(spec["selector"], labels) == [component]
                (pod,) = pods(case)[component]["spec"]["containers"]
                assert {p["targetPort"] for p in spec["ports"]} <= {p["name"] for p in pod["ports"]}
            case "ServiceMonitor":
                of_services = {name: s["metadata"]["labels"] for name, s in services.items()}
                (service,) = selected(spec["selector"]["matchLabels"], of_services)
                assert {e["port"] for e in spec["endpoints"]} <= {p["name"] for p in services[service]["spec"]["ports"]}
            case "Deployment" | "PodDisruptionBudget":
                assert selected(spec["selector"]["matchLabels"], labels) == [component]
            case "NetworkPolicy":
                assert selected(spec["podSelector"]["matchLabels"], labels) == [component]
            case "RoleBinding":
                (account,) = of_kind(case, "ServiceAccount")
                assert manifest["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "sre"}]
                assert manifest["roleRef"]["name"] in of_kind(case, "Role")
            case "Role":
                assert manifest["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
            case "Secret":
                pytest.fail("the chart makes no Secret")
    if policies := of_kind(case, "NetworkPolicy"):
        assert {p["metadata"]["labels"]["app.kubernetes.io/component"] for p in policies.values()} == set(labels)


@each_case
def test_the_copilot_can_read_its_settings(case: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secrets = {
        "COPILOT_STORE__URL": "postgresql://copilot:secret@db:5432/copilot",
        "COPILOT_API__TOKENS": json.dumps({"grafana": f"sha256:{'0' * 64}"}),
        "COPILOT_API__OIDC__SESSION_KEY": "k" * 32,
        "COPILOT_API__OIDC__CLIENT_SECRET": "secret",
        "COPILOT_NOTIFY": '[{"name": "ops", "kind": "slack", "url": "https://hooks.example.com/x"}]',
    }
    (config,) = [m for m in of_kind(case, "ConfigMap").values() if "copilot.toml" in m["data"]]
    (tmp_path / "copilot.toml").write_text(config["data"]["copilot.toml"])
    read: dict[str, Settings] = {}
    for component, pod in pods(case).items():
        with monkeypatch.context() as environment:
            for each in pod["spec"]["containers"][0]["env"]:
                assert ("valueFrom" in each) == (each["name"] in secrets)
                environment.setenv(each["name"], each.get("value") or secrets[each["name"]])
            read[component] = load_settings(tmp_path / "copilot.toml" if component != "migration" else None)
            assert read[component].store.url == secrets["COPILOT_STORE__URL"]
    assert read["api"].api.host == "0.0.0.0"
    assert read["api"].api.asks is not ("--insecure" in pods(case)["api"]["spec"]["containers"][0]["args"])
    assert read["worker"].temporal.address
    assert (read["api"].api.oidc is not None) == (case == EVERYTHING)


def test_rules_and_dashboards_are_ours_with_links_to_the_page() -> None:
    ours = {p: t.replace(PAGE, "https://copilot.example.com") for p, t in committed().items()}
    shown = {f: t for m in of_kind(EVERYTHING, "ConfigMap").values() for f, t in m["data"].items()}
    del shown["copilot.toml"]
    for name in sorted(shown):
        folder = "dashboards-opentelemetry" if f"dashboards-opentelemetry/{name}" in ours else "dashboards"
        assert json.loads(shown[name]) == json.loads(ours[f"{folder}/{name}"])
    assert {f"dashboards/{name}" for name in shown} == {p for p in ours if p.startswith("dashboards/")}
    (rules,) = of_kind(EVERYTHING, "PrometheusRule").values()
    assert rules["spec"] == yaml.safe_load(ours["prometheus-rules.yaml"])


CONFIG = "[[clusters]]\ntemporal = { address = 'watched:7233' }\n"


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ("{api: {insecure: true}}", "/api/tokens/existingSecret"),
        ("{api: {tokens: {existingSecret: ''}}}", "/api/tokens/existingSecret"),
        ("{api: {oidc: {enabled: true}}}", "/api/oidc/existingSecret"),
        ("{api: {oidc: {enabled: true, existingSecret: oidc}}}", "/api/publicUrl"),
        ("{api: {oidc: {existingSecret: oidc}}}", "/api/oidc/existingSecret"),
        ("{temporal: {profile: cloud}}", "/temporal/existingSecret"),
        ("{temporal: {address: 'https://temporal'}}", "/temporal/address"),
        ("{store: {existingSecret: 'postgresql://u:p@h/d'}}", "/store/existingSecret"),
        ("{store: {existingSecret: ''}}", "/store/existingSecret"),
        ("{serviceMonitor: {enabled: true}}", "/serviceMonitor/tokenSecret"),
        ("{networkPolicy: {enabled: false, apiFrom: [{podSelector: {}}]}}", "/networkPolicy/apiFrom"),
        ("{serviceAccount: {create: false}, kubernetesDiscovery: {namespaces: [temporal]}}", "/serviceAccount/name"),
        ("{env: {COPILOT_STORE__URL: x}}", "COPILOT_STORE__URL"),
        ("{workers: {replicas: 3}}", "additional properties 'workers'"),
        ("{kubernetesDiscovery: {namespaces: [temporal]}}", "kubernetesDiscovery.namespaces: config discovers no pods"),
        ({"config": CONFIG + "metrics = [{discover = 'kubernetes:shop/a=b', port = 1, role = 'worker'}]"},
         "kubernetesDiscovery.namespaces: config discovers pods of shop"),
        ({"config": CONFIG + "[clusters.prometheus]\nbearer_token = 'x'"}, "name its file instead (bearer_token_file)"),
        ({"config": CONFIG + "[store]\nurl = 'postgresql://u:p@h/d'"}, "config: the store's URL"),
        ({"config": CONFIG + "[temporal]\naddress = 'other:7233'"}, "below temporal.address"),
        ({"config": CONFIG + "[api]\ncert_file = 'x'"}, "take cert_file out"),
        ({"config": CONFIG + "[api.oidc]\nissuer = 'https://x'"}, "api.oidc.enabled: config has [api.oidc]"),
        ({"config": CONFIG + "[[notify]]\nname = 'x'", "notify": {"existingSecret": "x"}}, "notify.existingSecret"),
        ({"api": {"oidc": {"enabled": True, "existingSecret": "o"}, "publicUrl": "https://c"}}, "config has no [api"),
    ],
)  # fmt: skip
def test_values_that_contradict_each_other_are_refused_with_the_key(
    values: str | Manifest, key: str, tmp_path: Path
) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(values if isinstance(values, str) else json.dumps(values))
    done = helm("template", CHART, "-f", MINIMAL, "-f", file)
    assert done.returncode != 0
    assert key in done.stderr


def test_no_secret_of_our_settings_can_be_written_into_config() -> None:
    text = (CHART / "templates" / "_contradictions.tpl").read_text()
    refused = set(text.partition("\\\\b(")[2].partition(")")[0].split("|"))
    names = set(re.findall(r"^    (\w+): SecretStr", "\n".join(p.read_text() for p in SETTINGS.glob("*.py")), re.M))
    assert names - refused == {"url"}
    assert "url" in names  # A webhook's: COPILOT_NOTIFY, or url_file.


SETTINGS = CHART.parents[2] / "src" / "copilot" / "settings"


def test_what_to_do_next_names_what_is_there() -> None:
    done = helm("install", "copilot", CHART, "--namespace", "sre", "-f", MINIMAL, "--dry-run=client")
    notes = done.stdout.partition("\nNOTES:\n")[2]
    assert "copilot doctor" in notes
    named = set(re.findall(r"(?:deploy|service)/(\S+)", notes)) - {"grafana/prometheus-rules.yaml."}
    assert named
    assert named <= of_kind(MINIMAL, "Deployment", "Service").keys()


def test_the_quick_start_installs_what_its_commands_name(tmp_path: Path) -> None:
    page = (CHART.parents[2] / "docs" / "start.md").read_text()
    file = tmp_path / "values.yaml"
    file.write_text(page.partition("```yaml\n# values.yaml\n")[2].partition("```")[0])
    made = {m["metadata"]["name"]: m for m in template("-f", file)}
    named = re.findall(r"(?:deploy|service)/([a-z-]+)(?: |$)", page)
    assert set(named) == {"copilot-worker", "copilot-api"} & made.keys()
    secrets = set(re.findall(r"create secret generic (\S+)", page))
    assert {v["name"] for k, v in walk(made["copilot-api"]) if k == "secretKeyRef"} == secrets


def test_schema_values_version_and_readme_are_of_one_piece() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert keys(SCHEMA) - {"global"} == {path for path in paths(VALUES) if not path.startswith("networkPolicy.egress.")}
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert {chart["version"], chart["appVersion"]} == {__version__}
    assert (CHART / "README.md").read_text() == markdown()


def keys(schema: Manifest, at: str = "") -> set[str]:
    """The keys that a schema knows; what is below `requests` and labels is free."""
    found = {f"{at}{name}" for name in schema.get("properties", {}) if at.rpartition(".")[0][-9:] != "resources"}
    for name, inner in schema.get("properties", {}).items():
        found |= keys(inner, f"{at}{name}.")
    return {path for path in found if ".resources." not in path}


def paths(values: Manifest, at: str = "") -> set[str]:
    found = set()
    for name, inner in values.items():
        found.add(f"{at}{name}")
        if isinstance(inner, dict) and name not in ("resources", "labels", "annotations"):
            found |= paths(inner, f"{at}{name}.")
    return found
