"""The compose stack: valid by the specification's schema, and each file of it by its own tool where one is at hand.
There is no engine here, and no compose plugin: nothing of it was ever started."""

import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from copilot.cli.main import app
from copilot.settings.load import load_settings
from tests.deploy.dockerfile import DEPLOY, DOCKERFILE, stages
from tests.deploy.schemas import schema

FOLDER = DEPLOY / "compose"
TEXT = (FOLDER / "compose.yaml").read_text()
STACK: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
ONE_SHOT = {"schema", "start"}
UNASKED = {"docker-proxy", "alloy"}
"""Nothing waits for these, and their images have nothing to ask them with."""
OURS = {"schema": "start", "start": "start", "worker": "worker", "api": "api"}


def test_it_is_valid_by_the_compose_specification() -> None:
    validator = jsonschema.Draft202012Validator(schema("compose-spec"))
    assert [f"{e.json_path}: {e.message}" for e in validator.iter_errors(STACK)] == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_few_rights_and_bounds_a_known_image_and_a_command_and_can_be_asked_how_it_is(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is not (service["image"].startswith("temporalio/"))
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert not service.get("privileged")
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service.get("ports", ()))
    if name not in ONE_SHOT | UNASKED:
        assert set(service["healthcheck"]) == {"test", "interval", "timeout", "retries", "start_period"}
    if name in OURS:
        assert service["ulimits"] == {"nofile": 65536}
        assert service["build"]["target"] == OURS[name]
        assert OURS[name] in stages(DOCKERFILE.read_text())
        assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == DOCKERFILE
        command = service.get("command", [OURS[name]])
        assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0
        assert ("--insecure" in command) == (name == "api")
    else:
        assert re.fullmatch(r"[\w/.-]+:v?\d+(\.\d+)+", service["image"])


def test_nobody_waits_for_what_can_never_come() -> None:
    for name, service in SERVICES.items():
        for other, wait in service.get("depends_on", {}).items():
            wants = wait["condition"]
            assert other in SERVICES, name
            assert (wants == "service_completed_successfully") == (other in ONE_SHOT), name
            assert wants != "service_healthy" or "healthcheck" in SERVICES[other], name
    assert SERVICES["start"]["depends_on"] == {"worker": {"condition": "service_healthy"}}


def test_what_is_mounted_is_there_and_only_read() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", ()):
            source, _, rest = mount.partition(":")
            if not source.startswith((".", "/")):
                assert source in STACK["volumes"]
                continue
            assert rest.endswith(":ro")
            if source.startswith("./"):
                assert (FOLDER / source).exists(), source


def test_the_docker_socket_is_given_to_the_proxy_alone_which_only_its_own_network_reaches() -> None:
    assert [n for n, s in SERVICES.items() if "docker.sock" in str(s.get("volumes"))] == ["docker-proxy"]
    assert SERVICES["docker-proxy"]["networks"] == ["docker"]
    assert SERVICES["docker-proxy"]["environment"]["POST"] == "0"
    assert STACK["networks"]["docker"] == {"internal": True}


def test_every_secret_is_asked_for_and_in_the_example() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", TEXT))
    example = dict(
        line.split("=", 1) for line in (FOLDER / ".env.example").read_text().splitlines() if line and line[0] != "#"
    )
    assert asked == set(example)
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT)) == asked
    assert {".env", "models.env", "notify.env"} <= set((FOLDER / ".gitignore").read_text().split())


def test_keys_of_models_reach_the_worker_alone_and_channels_those_who_need_them() -> None:
    given = {name: {file["path"] for file in service.get("env_file", ())} for name, service in SERVICES.items()}
    assert [name for name, files in given.items() if "models.env" in files] == ["worker"]
    assert {name for name, files in given.items() if "notify.env" in files} == {"worker", "start", "api"}


def test_the_copilot_reads_its_file_and_finds_every_service_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    store = SERVICES["worker"]["environment"]["COPILOT_STORE__URL"]
    monkeypatch.setenv("COPILOT_STORE__URL", re.sub(r"\$\{.*?\}", "secret", store))
    settings = load_settings(FOLDER / "copilot.toml")
    cluster = settings.clusters[0]
    assert cluster.temporal is not None
    assert cluster.prometheus is not None
    assert cluster.logs is not None
    assert cluster.logs.loki is not None
    named = [settings.temporal.address, cluster.temporal.address, str(settings.store.url).partition("@")[2]]
    urls = [urlsplit(cluster.prometheus.url), urlsplit(cluster.logs.loki.url)]
    assert {n.partition(":")[0] for n in named} | {u.hostname for u in urls} <= set(SERVICES)
    assert settings.temporal.address != cluster.temporal.address
    label = cluster.prometheus.selector
    assert "{" + label + "}" == cluster.logs.loki.query
    scraped = yaml.safe_load((FOLDER / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    value = label.partition('"')[2].rstrip('"')
    assert any(t["labels"] == {"cluster": value} for s in scraped for t in s["static_configs"])
    assert f'cluster = "{value}"' in (FOLDER / "alloy/config.alloy").read_text()


def test_prometheus_scrapes_services_that_are_there() -> None:
    config = yaml.safe_load((FOLDER / "prometheus/prometheus.yml").read_text())
    targets = [t for s in config["scrape_configs"] for c in s["static_configs"] for t in c["targets"]]
    assert {t.partition(":")[0] for t in targets} == {"temporal", "copilot-temporal", "api", "worker"}
    assert SERVICES["temporal"]["environment"]["PROMETHEUS_ENDPOINT"].endswith(":8000")


def test_grafana_gets_what_its_provisioning_asks_for_and_its_dashboards_where_it_looks() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    asked = {n for p in provisioning.glob("datasources/*.yaml") for n in re.findall(r"\$([A-Z_]+)", p.read_text())}
    grafana = SERVICES["grafana"]
    assert asked <= set(grafana["environment"])
    urls = {v for k, v in grafana["environment"].items() if k.endswith("_URL")}
    assert {urlsplit(url).hostname for url in urls} == {"api", "prometheus", "loki"}
    mounted = {target: source for source, target, _ in (v.split(":") for v in grafana["volumes"] if v.startswith("."))}
    for file in provisioning.glob("dashboards/*.yaml"):
        for provider in yaml.safe_load(file.read_text())["providers"]:
            assert provider["options"]["path"] in mounted


@pytest.mark.needs_debian("prometheus")
def test_prometheus_own_tool_finds_its_configuration_good() -> None:
    config = FOLDER / "prometheus/prometheus.yml"
    done = subprocess.run(["promtool", "check", "config", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", ["loki/loki.yaml", "temporal/dynamicconfig.yaml"])
def test_yaml_is_yaml(file: str) -> None:
    assert isinstance(yaml.safe_load((FOLDER / file).read_text()), dict)


def test_alloy_names_only_what_it_defines() -> None:
    text = (FOLDER / "alloy/config.alloy").read_text()
    assert text.count("{") == text.count("}")
    defined = {f"{kind}.{label}" for kind, label in re.findall(r'^([\w.]+) "(\w+)" \{', text, re.MULTILINE)}
    used = re.findall(r"= \[?((?:discovery|loki)\.[\w.]+)\.\w+\]?$", text, re.MULTILINE)
    assert len(used) == 3
    assert set(used) <= defined
    hosts = {str(urlsplit(url).hostname) for url in re.findall(r'"((?:tcp|http)://[^"]+)"', text)}
    assert hosts == {"docker-proxy", "loki"}
    assert "copilot.logs=watched" in text
    assert SERVICES["temporal"]["labels"] == {"copilot.logs": "watched"}


def test_the_roles_script_is_run_as_a_script() -> None:
    script: Path = FOLDER / "postgres/roles.sh"
    assert script.stat().st_mode & 0o111
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    used = set(re.findall(r"\$(\w+)", script.read_text()))
    assert used <= set(SERVICES["postgres"]["environment"])
