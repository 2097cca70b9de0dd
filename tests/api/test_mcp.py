"""The tools for assistants, asked by the SDK's own client over both transports."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from copilot.api.auth import new_token, token_hash
from copilot.api.mcp import INSTRUCTIONS
from copilot.settings.api import ApiSettings
from tests.api.standin import ToldLoop, deps
from tests.evaluations import NOON, evaluation
from tests.web.chromium import served

TOKEN = new_token()
SETTINGS = ApiSettings(tokens={"me": token_hash(TOKEN)}, mcp=True, public_url="https://copilot.example.org")
TOOLS = {
    *("clusters", "verdict", "why", "timeline", "signals", "signal", "targets", "log_patterns", "runbook"),
    *("incidents", "incident", "executions", "workers", "changes"),
}


@asynccontextmanager
async def over_http(url: str, token: str) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        yield client


@asynccontextmanager
async def over_stdio(url: str, token: str) -> AsyncIterator[Client]:
    env = {"COPILOT_TOKEN": token, "PATH": os.environ["PATH"]}
    command = StdioServerParameters(command=sys.executable, args=["-m", "copilot", "mcp", "--api", url], env=env)
    async with Client(command) as client:
        yield client


@asynccontextmanager
async def api() -> AsyncIterator[str]:
    loop = ToldLoop({"default": evaluation("critical", NOON)})
    async with served(deps(loop), settings=SETTINGS) as url:
        yield url


@pytest.mark.parametrize("transport", [over_http, over_stdio])
async def test_an_assistant_reads_what_the_api_shows_with_a_link_and_cannot_write(transport: Any) -> None:
    async with api() as url, transport(url, TOKEN) as client:
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == TOOLS
        assert client.instructions == INSTRUCTIONS
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
        assert all(tool.output_schema and "link" in tool.output_schema["properties"] for tool in tools)

        async def ask(tool: str, **arguments: object) -> dict[str, Any]:
            answer = await client.call_tool(tool, arguments)
            assert not answer.is_error, answer.content
            assert answer.structured_content is not None
            return dict(answer.structured_content)

        verdict = await ask("verdict")
        assert (verdict["health_state"], verdict["cluster"]) == ("critical", "default")
        assert verdict["timestamp"] == NOON.format_iso()
        assert verdict["recommended_actions"][0]["description"].startswith("Start workers for `orders`")
        link = verdict["link"]
        assert link.endswith("/?cluster=default")
        why = await ask("why", cluster="default")
        assert why["findings"][0]["finding"] == "no_pollers"
        assert {gate["fired"] for gate in why["firing"]} == {True}
        assert (await ask("clusters"))["clusters"][0]["health_state"] == "critical"
        readings = await ask("signals")
        assert readings["primary_signals"]["matching"]["backlog_count"] is not None
        series = await ask("signal", signal_id="matching.backlog_count")
        assert series["points"][-1]["value"] == readings["primary_signals"]["matching"]["backlog_count"]
        text = await ask("runbook", name=verdict["recommended_actions"][0]["runbook"])
        assert text["markdown"].startswith("#")
        assert text["link"].endswith("/runbooks/no_pollers/page")
        for name in ("timeline", "incidents", "executions", "workers", "changes", "targets", "log_patterns"):
            assert (await ask(name))["cluster"] == "default"
        gone = await client.call_tool("incident", {"incident_id": "default:1"})
        assert "no incident of default" in str(gone.content)
        refused = await client.call_tool("verdict", {"cluster": "west"})
        assert refused.is_error
        assert "west" in str(refused.content)


async def test_without_a_token_and_where_it_is_not_turned_on_there_are_no_tools() -> None:
    async with api() as url, httpx2.AsyncClient() as http:
        assert (await http.post(f"{url}/mcp", json={})).status_code == 401
    async with served(deps()) as url, httpx2.AsyncClient() as http:
        assert (await http.post(f"{url}/mcp", json={})).status_code == 404


async def test_an_assistant_hears_that_the_api_does_not_answer() -> None:
    async with over_stdio("http://127.0.0.1:1", "") as client:
        answer = await client.call_tool("verdict", {})
    assert answer.is_error
    assert "no response from http://127.0.0.1:1" in str(answer.content)
