"""`copilot mcp`: tools for an assistant, over stdio."""

import asyncio
import contextlib
from collections.abc import Mapping

from copilot.cli.options import ApiOption, ConfigOption, configuration, current_settings
from copilot.cli.status import api_client
from copilot.errors import CopilotError, SettingsError


def mcp(
    api: ApiOption = None,
    config: ConfigOption = None,
) -> None:
    """Serve the verdicts to an assistant as read-only tools (Model Context Protocol) on standard input and output,
    until they are closed. The assistant starts this command; docs/assistants.md shows how. The API's token, if it needs
    one, is read from COPILOT_TOKEN.

    Example: copilot mcp --api https://copilot.example.org"""
    try:
        from mcp.server.mcpserver.exceptions import ToolError

        from copilot.api.mcp import Body, server
    except ImportError:
        raise SettingsError(["copilot mcp needs the extra `mcp`: pip install 'temporal-sre-copilot[mcp]'"]) from None
    settings = current_settings(config) if api is None else configuration(config)
    client = api_client(settings, api)

    async def read(path: str, parameters: Mapping[str, str], _: Mapping[str, str]) -> Body:
        try:
            return await asyncio.to_thread(client.get, path, **parameters)
        except CopilotError as error:
            raise ToolError(str(error)) from None

    with contextlib.closing(client), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server(read, str(settings.api.public_url or client.base)).run_stdio_async())
