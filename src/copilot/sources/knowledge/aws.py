"""AWS by botocore: clients, calls, and failures as SourceError."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from copilot.errors import SettingsError, SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.settings.models import KnowledgeSettings
from copilot.sources.http import one_line

_FORBIDDEN = (
    *("AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "Forbidden", "403"),
    *("InvalidAccessKeyId", "InvalidSignatureException", "SignatureDoesNotMatch", "UnrecognizedClientException"),
)
_ABSENT = ("404", "NoSuchBucket", "ResourceNotFoundException")
_CODES = dict.fromkeys(_FORBIDDEN, MissingCode.FORBIDDEN) | dict.fromkeys(_ABSENT, MissingCode.ABSENT)
MAX_DETAIL = 300


def client(service: str, settings: KnowledgeSettings, attempts: int = 1) -> Any:
    """A client of the service. It tries each call `attempts` times, with `timeout_sec` for each. Finds credentials as
    the AWS tools do and follows AWS_ENDPOINT_URL…. Takes a tenth of a second, without network. SettingsError without
    botocore, or where the client cannot be set up."""
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


def call(client: Any, operation: str, what: str, **parameters: Any) -> dict[str, Any]:
    """One call. SourceError where it fails; `what` names what was requested."""
    with aws_errors(what):
        answer: dict[str, Any] = getattr(client, operation)(**parameters)
        return answer


@contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Turn failures of botocore inside into a SourceError that names what was requested."""
    from botocore import exceptions, parsers

    def failed(code: MissingCode, detail: str) -> SourceError:
        return SourceError(code, one_line(detail, MAX_DETAIL).rstrip(": "), asked=what)

    try:
        yield
    except exceptions.ClientError as error:
        answer = error.response.get("Error", {})
        code = str(answer.get("Code", ""))
        detail = f"{code}: {answer.get('Message', '')}"
        raise failed(_CODES.get(code, MissingCode.TARGET_DOWN), detail) from error
    except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError) as error:
        raise failed(MissingCode.TIMEOUT, "did not answer in time") from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        why = "no AWS credentials were found (environment, profile or role)"
        raise failed(MissingCode.FORBIDDEN, why) from error
    except (parsers.ResponseParserError, AttributeError, KeyError, TypeError, ValueError) as error:
        # botocore's parsers fail in many ways on JSON that is not from the service.
        raise failed(MissingCode.PARSE, "the answer could not be parsed") from error
    except exceptions.BotoCoreError as error:
        raise failed(MissingCode.TARGET_DOWN, str(error)) from error
