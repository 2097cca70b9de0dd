"""AWS by botocore: clients, and what their failures mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from copilot.errors import SettingsError, SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.settings.models import KnowledgeSettings

_CODES = {
    "AccessDenied": MissingCode.FORBIDDEN,
    "AccessDeniedException": MissingCode.FORBIDDEN,
    "ExpiredToken": MissingCode.FORBIDDEN,
    "ExpiredTokenException": MissingCode.FORBIDDEN,
    "Forbidden": MissingCode.FORBIDDEN,
    "403": MissingCode.FORBIDDEN,
    "InvalidAccessKeyId": MissingCode.FORBIDDEN,
    "InvalidSignatureException": MissingCode.FORBIDDEN,
    "SignatureDoesNotMatch": MissingCode.FORBIDDEN,
    "UnrecognizedClientException": MissingCode.FORBIDDEN,
    "404": MissingCode.ABSENT,
    "NoSuchBucket": MissingCode.ABSENT,
    "ResourceNotFoundException": MissingCode.ABSENT,
}
MOST_DETAIL = 300


def client(service: str, settings: KnowledgeSettings, attempts: int = 1) -> Any:
    """A client of the service. It tries each call `attempts` times and waits `timeout_sec` for an answer each time.
    Credentials are found as the AWS tools find them, AWS_ENDPOINT_URL… is followed. Takes a tenth of a second; asks
    nothing over the network. SettingsError without botocore, or where it cannot be set up."""
    try:
        from botocore import config, exceptions, session
    except ImportError as error:
        why = "[knowledge] on AWS needs botocore: install temporal-sre-copilot with its extra `aws`"
        raise SettingsError([why]) from error
    limits = config.Config(
        connect_timeout=settings.timeout_sec,
        read_timeout=settings.timeout_sec,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )
    try:
        return session.Session(profile=settings.profile).create_client(
            service, region_name=settings.region, config=limits
        )
    except (exceptions.BotoCoreError, ValueError) as error:
        raise SettingsError([f"knowledge: {error}"]) from error


def call(client: Any, operation: str, asked: str, **parameters: Any) -> dict[str, Any]:
    """One call. SourceError naming `asked` where it fails."""
    with failures(asked):
        answer: dict[str, Any] = getattr(client, operation)(**parameters)
        return answer


@contextmanager
def failures(asked: str) -> Iterator[None]:
    """What goes wrong with AWS inside becomes a SourceError that names what was asked."""
    from botocore import exceptions, parsers

    def failed(code: MissingCode, detail: str) -> SourceError:
        return SourceError(code, " ".join(detail.split())[:MOST_DETAIL].rstrip(": "), asked=asked)

    try:
        yield
    except exceptions.ClientError as error:
        told = error.response.get("Error", {})
        code = str(told.get("Code", ""))
        detail = f"{code}: {told.get('Message', '')}"
        raise failed(_CODES.get(code, MissingCode.TARGET_DOWN), detail) from error
    except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError) as error:
        raise failed(MissingCode.TIMEOUT, "did not answer in time") from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        why = "no AWS credentials were found (environment, profile or role)"
        raise failed(MissingCode.FORBIDDEN, why) from error
    except (parsers.ResponseParserError, AttributeError, KeyError, TypeError, ValueError) as error:
        # botocore's parsers fail in their own ways on JSON that is none of the service's.
        raise failed(MissingCode.PARSE, "the answer could not be understood") from error
    except exceptions.BotoCoreError as error:
        raise failed(MissingCode.TARGET_DOWN, str(error)) from error
