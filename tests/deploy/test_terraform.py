"""The Terraform configuration against the AWS provider's own schema, and itself. It was never planned or applied here:
that needs the provider and an account."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import hcl2
import pytest
from typer.testing import CliRunner

from copilot.cli.main import app
from copilot.settings.clusters import ClusterSettings, PrometheusSettings, SigV4
from copilot.settings.load import Settings
from copilot.settings.sources import LokiSettings
from tests.deploy import hcl
from tests.deploy.hcl import BLOCK, COMMENTS, FOLDER, Body, Thing, all_of, locals_, named, plain, things
from tests.deploy.schemas import schema

PROVIDER = schema("aws-provider")
META = {BLOCK, COMMENTS, "__inline_comments__", "count", "for_each", "depends_on", "lifecycle", "dynamic"}
COMPUTED = {
    "aws_bedrockagent_data_source": {"data_source_id"},
    "aws_caller_identity": {"account_id"},
    "aws_iam_policy_document": {"json"},
    "aws_kms_key": {"key_id"},
    "aws_partition": {"partition"},
    "aws_s3vectors_index": {"index_arn"},
    "aws_s3vectors_vector_bucket": {"vector_bucket_arn"},
    "aws_vpc_endpoint": {"prefix_list_id"},
}
"""What the provider says of a thing besides its arguments, id and arn; its schema here has arguments only."""
LITERALS: dict[str, tuple[type, ...]] = {"string": (str, int), "number": (int, float), "list": (list,), "map": (dict,)}


def aws() -> list[Thing]:
    return [t for t in things() if t.kind in ("resource", "data")]


def complaints(body: Body, known: dict[str, Any], where: str) -> Iterator[str]:
    """What the provider would say of a block."""
    dynamic = {plain(n): inner for block in body.get("dynamic", ()) for n, inner in block.items() if n != BLOCK}
    for name, entry in known.items():
        if entry["required"] and name not in body and name not in dynamic:
            yield f"{where} lacks {name}"
    for name in [*body, *dynamic]:
        if name not in META and name not in known:
            yield f"{where} has no {name}"
    for name in body.keys() & known.keys():
        yield from _value(body[name], known[name], f"{where}.{name}")
    for name in dynamic.keys() & known.keys():
        for inner in dynamic[name]["content"]:
            yield from complaints(inner, known[name]["block"], f"{where}.{name}")


def _value(value: Any, entry: dict[str, Any], where: str) -> Iterator[str]:
    blocks = isinstance(value, list) and bool(value) and all(isinstance(v, dict) and BLOCK in v for v in value)
    if blocks != ("block" in entry):
        yield f"{where} is {'no' if blocks else 'a'} block"
    elif blocks:
        if len(value) > 1 and not entry["list"]:
            yield f"{where} stands twice"
        for inner in value:
            yield from complaints(inner, entry["block"], where)
    elif not (isinstance(value, str) and "${" in value) and not isinstance(value, LITERALS.get(entry["type"], object)):
        yield f"{where} is {value!r} and should be a {entry['type']}"


def test_the_provider_knows_every_block_and_argument() -> None:
    for thing in aws():
        known = PROVIDER[thing.kind].get(thing.type)
        assert known is not None, f"the schema has no {thing.type}"
        assert list(complaints(thing.body, known, thing.address)) == []


def test_every_reference_leads_to_something_that_is_declared() -> None:
    declared = {t.address: t for t in aws()}
    wrong = []
    for file, text in hcl.expressions():
        for address, type_, attribute in re.findall(r"\b((?:data\.)?(aws_\w+)\.\w+)(?:\[[^\]]*\])?(?:\.(\w+))?", text):
            thing = declared.get(address)
            fine = {"id", "arn", ""} | COMPUTED.get(type_, set())
            if thing is None or attribute not in fine | set(PROVIDER[thing.kind].get(type_, ())):
                wrong.append(f"{file}: {address}.{attribute}")
    assert wrong == []


def test_every_variable_is_declared_used_and_explained() -> None:
    declared = {t.name: t.body for t in all_of("variable")}
    assert named(r"\bvar\.(\w+)") == set(declared)
    assert [n for n, b in declared.items() if len(plain(b.get("description", ""))) < 15 or "type" not in b] == []
    validated = {n for n, b in declared.items() if "validation" in b}
    assert {n for n, b in declared.items() if "default" not in b} <= validated


def test_the_knowledge_bases_output_is_a_copilot_toml() -> None:
    text = next(t.body["value"] for t in all_of("output") if t.name == "knowledge")
    body = re.search(r"\[knowledge\]\n.*(?=\n *TOML)", text, re.DOTALL)
    assert body is not None
    values = {"knowledge_base_id": "ABCDEFGHIJ", "data_source_id": "0123456789", "bucket": "copilot-runbooks",
              "prefix": "runbooks/", "region": "eu-west-1"}  # fmt: skip
    toml = re.sub(r'(\w+) = "\$\{.*?\}"', lambda m: f'{m[1]} = "{values[m[1]]}"', body[0])
    given = Settings(**tomllib.loads(toml)).knowledge.model_dump()
    assert (values | {"source": "bedrock"}).items() <= given.items()


def test_a_load_balancer_is_sent_to_where_the_api_listens() -> None:
    service = next(t for t in all_of("resource", "aws_ecs_service") if t.name == "api")
    target = service.body["dynamic"][0]['"load_balancer"']["content"][0]
    assert f'name = "{plain(target["container_name"])}"' in definitions()["api"]
    assert f"containerPort = {target['container_port']}" in definitions()["api"]


def test_the_example_gives_what_has_no_default_and_nothing_unknown() -> None:
    example = hcl2.loads((FOLDER / "terraform.tfvars.example").read_text())
    given = {name for name in example if not name.startswith("__")}
    declared = {t.name: t.body for t in all_of("variable")}
    assert {n for n, b in declared.items() if "default" not in b} <= given <= set(declared)


def test_the_provider_is_the_one_whose_schema_this_is_and_the_state_is_encrypted_and_locked() -> None:
    terraform = hcl.files()["versions.tf"]["terraform"][0]
    assert f"aws {plain(terraform['required_providers'][0]['aws']['version'])}" == PROVIDER["provider"]
    state = terraform["backend"][0]['"s3"']
    assert (state["encrypt"], state["use_lockfile"]) == (True, True)
    example = (FOLDER / "backend.hcl.example").read_text()
    assert set(hcl2.loads(example)) - {COMMENTS} == {"bucket", "key", "region", "kms_key_id"}
    ignored = (FOLDER / ".gitignore").read_text().split()
    assert {"terraform.tfvars", "backend.hcl", "*.tfstate", ".terraform/"} <= set(ignored)


def definitions() -> dict[str, str]:
    return {t.name: t.body["container_definitions"] for t in all_of("resource", "aws_ecs_task_definition")}


def words(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)


@pytest.mark.parametrize("name", ["worker", "api"])
def test_every_container_runs_a_command_that_there_is(name: str) -> None:
    commands = [words(c) for c in re.findall(r"\bcommand = (\[[^\]]*\])", definitions()[name])]
    ours = [c[2:] if c[:2] == ["CMD", "copilot"] else c for c in commands]
    assert ["alive", name] in ours
    for command in ours:
        assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0, command


@pytest.mark.parametrize("name", ["worker", "api", "temporal"])
def test_every_service_rolls_back_and_its_containers_are_asked_how_they_are(name: str) -> None:
    service = next(s for s in all_of("resource", "aws_ecs_service") if s.name == name)
    breaker = service.body["deployment_circuit_breaker"][0]
    assert (breaker["enable"], breaker["rollback"]) == (True, True)
    assert service.body["network_configuration"][0]["assign_public_ip"] is False
    text = definitions()[service.name]
    assert text.count("essential = true") == text.count("healthCheck = {") == 1
    connect = service.body["service_connect_configuration"][0]
    ports = set(re.findall(r'portMappings = \[\{name = "(\w+)"', text))
    assert {plain(s["port_name"]) for s in connect.get("service", ())} == ports
    assert "appProtocol" not in text


def test_the_api_asks_for_tokens_whose_secret_only_the_start_of_tasks_reads() -> None:
    api = definitions()["api"]
    assert 'command = ["api"]' in api
    secrets = api.partition("secrets = ")[2].partition(")]")[0]
    assert '[{name = "COPILOT_API__TOKENS", valueFrom = var.api_tokens_secret_arn}]' in secrets
    assert 'if key == "COPILOT_NOTIFY"' in secrets
    assert {n: hcl.plain(r["resources"]) for n, r in secret_readers()} == {"execution": "${local.secret_arns}"}
    assert re.findall(r"var\.\w+", locals_()["secret_arns"]) == ["var.api_tokens_secret_arn", "var.worker_secrets"]


def test_whatever_the_worker_is_told_the_start_of_its_loops_is_told_too() -> None:
    shared = str(locals_()["worker_container"])
    assert {"local.worker_environment", "var.worker_secrets"} <= set(re.findall(r"(?:local|var)\.\w+", shared))
    worker = definitions()["worker"]
    assert worker.count("merge(local.worker_container") == worker.count("essential = ") == 3
    assert "secrets = " not in worker
    assert "environment = " not in worker


def secret_readers() -> Iterator[tuple[str, Body]]:
    for document in all_of("data", "aws_iam_policy_document"):
        for statement in document.body.get("statement", ()):
            if any("secretsmanager" in action for action in statement["actions"]):
                yield document.name, statement


def test_containers_of_ours_cannot_write_their_image_nor_are_root() -> None:
    shared = str(locals_()["worker_container"])
    for text in (shared.replace("'", "").replace('"', ""), definitions()["api"].replace('"', "")):
        assert re.search(r"readonlyRootFilesystem(:| =) [Tt]rue", text)
        assert re.search(r"user(:| =) 10001:10001", text)


def test_logs_end_and_are_encrypted() -> None:
    for group in all_of("resource", "aws_cloudwatch_log_group"):
        assert {"retention_in_days", "kms_key_id"} <= set(group.body)


def test_the_clusters_are_spelled_as_settings_are() -> None:
    text = str(locals_()["clusters"])
    models = (ClusterSettings, PrometheusSettings, SigV4, LokiSettings)
    fields = {name for model in models for name in model.model_fields} | {"address", "loki"}
    assert set(re.findall(r"(\w+) = ", text)) <= fields
    assert {"name", "prometheus", "temporal", "logs", "sigv4", "query"} <= set(re.findall(r"(\w+) = ", text))


def test_nothing_comes_in_from_addresses_and_goes_out_only_where_something_is_called() -> None:
    for rule in all_of("resource", "aws_vpc_security_group_ingress_rule"):
        assert {"cidr_ipv4", "cidr_ipv6", "prefix_list_id"} & set(rule.body) == set(), rule.address
        assert plain(rule.body["ip_protocol"]) == "tcp"
    ports = {
        rule.body["from_port"]
        for rule in all_of("resource", "aws_vpc_security_group_egress_rule")
        if rule.name != "membership"
    }
    assert ports == {443, 3100, 5432, 7233}
    assert not any({"ingress", "egress"} & set(t.body) for t in all_of("resource", "aws_security_group"))
    assert all(plain(r.body.get("ip_protocol", "tcp")) == "tcp" for r in aws())
