"""S3 by moto and Bedrock by a stand-in, both over real HTTP; the AWS environment points at them."""

from collections.abc import Iterator

import pytest

from tests.kb.aws_servers import BedrockStandIn, S3Server, aws_environment


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with S3Server.running() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    aws_environment(monkeypatch, s3=s3_server.url)
    s3_server.empty()
    return s3_server


@pytest.fixture
def bedrock(monkeypatch: pytest.MonkeyPatch) -> Iterator[BedrockStandIn]:
    with BedrockStandIn.running() as server:
        aws_environment(monkeypatch, bedrock=server.url)
        yield server
