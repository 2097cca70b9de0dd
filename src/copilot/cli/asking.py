"""What commands ask of the running API."""

import contextlib
import os
import ssl
from pathlib import Path
from typing import Any

from copilot.core.errors import SettingsError, SourceError
from copilot.core.signals import MissingCode

ANSWER_SEC = 5.0


class Asking:
    """Asks the API at `base`; the token, where it wants one, is COPILOT_TOKEN's. `cert_file`: the API's own
    certificate, which is trusted too."""

    def __init__(self, base: str, cert_file: Path | None = None) -> None:
        import httpx

        token = os.environ.get("COPILOT_TOKEN", "").strip()
        if not token.isascii():
            raise SettingsError(["COPILOT_TOKEN is no token: `copilot token new NAME` makes one"])
        trusted = httpx.create_ssl_context()
        if cert_file is not None and base.startswith("https:"):
            with contextlib.suppress(OSError):  # ours may not be readable to whoever asks, and need not be
                trusted.load_verify_locations(cert_file)
                trusted.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.base = base
        try:
            self._client: httpx.Client = httpx.Client(
                base_url=base, timeout=ANSWER_SEC, trust_env=False, headers=headers, verify=trusted
            )
        except httpx.InvalidURL as error:
            raise SettingsError([f"--api {base} is no address: write http://127.0.0.1:8765, say"]) from error

    def statuses(self, cluster: str | None = None) -> list[dict[str, Any]]:
        """/status of one cluster, or of all, the worst first. SourceError when nobody answers or there is no such
        cluster, SettingsError when the token is wrong."""
        import httpx

        try:
            names = [cluster] if cluster else [c["cluster"] for c in self._answer("/clusters", {})["clusters"]]
            answers = [self._answer("/status", {"cluster": name}) for name in names]
            return [answer for answer in answers if answer["health_state"]]
        except (KeyError, TypeError) as error:
            raise self._stranger(200) from error
        except httpx.HTTPError as error:
            raise SourceError(
                MissingCode.TARGET_DOWN,
                f"no answer from {self.base} ({str(error) or type(error).__name__}): does `copilot api` run there? "
                "--api says where it is",
            ) from error

    def models(self) -> dict[str, Any]:
        """What models took today; nothing where the API does not say."""
        import httpx

        try:
            return self._answer("/models", {})
        except (httpx.HTTPError, SourceError):
            return {}

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def _answer(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        answer = self._client.get(path, params=parameters)
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise self._stranger(answer.status_code)
        if answer.status_code == 401:
            shown = "authorization" in self._client.headers
            why = (
                "does not know the token in COPILOT_TOKEN" if shown else "wants a token, which COPILOT_TOKEN is to hold"
            )
            raise SettingsError([f"{self.base} {why}"])
        if answer.status_code != 200:
            error = body.get("error")
            if not isinstance(error, dict) or "message" not in error:
                raise self._stranger(answer.status_code)
            raise SourceError(MissingCode.ABSENT, str(error["message"]))
        return body

    def _stranger(self, status: int) -> SourceError:
        return SourceError(MissingCode.PARSE, f"what answers at {self.base} (HTTP {status}) is not the Copilot's API")
