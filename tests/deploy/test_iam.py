"""What our roles may do: actions that there are, and no more of them than were meant."""

from collections.abc import Iterator
from functools import cache

from botocore import session

from tests.deploy.hcl import COMMENTS, Body, Thing, all_of, locals_, plain, texts

MODELS = {"aps": ["amp"], "bedrock": ["bedrock", "bedrock-agent", "bedrock-agent-runtime", "bedrock-runtime"]}
"""Prefixes of actions that stand for services botocore names otherwise."""
NOT_CALLS = {
    "aps:QueryMetrics": "Prometheus' own API, which botocore does not speak",
    "dsql:DbConnect": "a connection, not a call",
    "s3:ListBucket": "the action of ListObjectsV2",
    "kms:ReEncryptFrom": "one half of ReEncrypt",
    "kms:ReEncryptTo": "one half of ReEncrypt",
}
MEANT = {
    "ecs_assumes": {"sts:AssumeRole"},
    "bedrock_assumes": {"sts:AssumeRole"},
    "connects": {"dsql:DbConnect"},
    "execution": {"ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage",
                  "ecr:GetDownloadUrlForLayer", "logs:CreateLogStream", "logs:PutLogEvents",
                  "secretsmanager:GetSecretValue"},
    "worker": {"aps:QueryMetrics", "bedrock:Retrieve", "bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"},
}  # fmt: skip
"""What a process calls; a role that gets more must be meant to."""


def statements(document: Thing) -> Iterator[Body]:
    yield from document.body.get("statement", ())
    for block in document.body.get("dynamic", ()):
        yield from block['"statement"']["content"]


def actions(document: Thing) -> set[str]:
    return {plain(a) for s in statements(document) for a in s["actions"]}


@cache
def operations(prefix: str) -> frozenset[str]:
    aws = session.get_session()
    return frozenset(o for name in MODELS.get(prefix, [prefix]) for o in aws.get_service_model(name).operation_names)


def documents() -> list[Thing]:
    return all_of("data", "aws_iam_policy_document")


def test_every_action_is_one_that_aws_knows() -> None:
    for document in documents():
        for action in actions(document):
            prefix, _, name = action.partition(":")
            assert name == "*" or action in NOT_CALLS or name in operations(prefix), (document.name, action)


def test_a_role_may_do_what_its_process_calls() -> None:
    assert {d.name: actions(d) for d in documents() if d.name in MEANT} == MEANT


def test_nobody_connects_to_a_database_as_admin() -> None:
    assert not any("DbConnectAdmin" in t for d in documents() for t in texts(d.body))
    for variable in ("dsql_role", "temporal_dsql_role"):
        rules = next(v for v in all_of("variable") if v.name == variable).body["validation"]
        assert any('!= "admin"' in rule["condition"] for rule in rules)


def test_what_is_meant_for_all_says_why() -> None:
    for document, statement in ((d, s) for d in documents() for s in statements(d)):
        wide = [t for key in ("actions", "resources") for t in texts(statement.get(key, [])) if "*" in t]
        assert not wide or statement.get(COMMENTS), f"{document.name} {statement.get('sid')}: {wide}"
        assert plain(statement.get("effect", "Allow")) == "Deny" or all(":*" not in a for a in actions_of(statement))


def actions_of(statement: Body) -> list[str]:
    """Actions, but for the key policy's: KMS asks for kms:* there."""
    return [a for a in map(plain, statement["actions"]) if a != "kms:*"]


def test_models_are_the_only_arns_with_a_wildcard_among_locals() -> None:
    wide = {name for name, value in locals_().items() if any(":*" in text for text in texts(value))}
    assert wide == {"model_arns"}


def test_a_role_is_assumed_by_a_service_for_this_account_only() -> None:
    roles = all_of("resource", "aws_iam_role")
    assert roles
    for role in roles:
        name = role.body["assume_role_policy"].split(".")[2]
        statement = next(iter(statements(next(d for d in documents() if d.name == name))))
        assert plain(statement["principals"][0]["type"]) == "Service", role.name
        assert {plain(c["variable"]) for c in statement["condition"]} == {"aws:SourceAccount", "aws:SourceArn"}


def test_every_policy_is_somebodys() -> None:
    used = {t for r in all_of("resource") for text in texts(r.body) for t in [d.name for d in documents()]
            if f"aws_iam_policy_document.{t}" in text}  # fmt: skip
    assert used == {d.name for d in documents()}
