"""The Python SDK: both eras, chosen by "era". Commands and events are those of ../node/drive.mjs."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent


def emit(event, **fields):
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def answering(answers):
    """What the client tells servers that ask; without `answers` it knows of elicitation alone."""

    async def elicit(_context, params):
        emit("elicitation", params=params.model_dump(mode="json", by_alias=True, exclude_none=True))
        return ElicitResult(action="accept", content=answers.get("elicitation", {}))

    async def sample(_context, params):
        emit("sampling", params=params.model_dump(mode="json", by_alias=True, exclude_none=True))
        said = TextContent(type="text", text=answers["sampling"])
        return CreateMessageResult(role="assistant", model="none", content=said)

    async def roots(_context):
        return ListRootsResult(roots=[Root(uri=answers["root"])])

    asked = {"sampling_callback": sample, "list_roots_callback": roots} if answers else {}
    return {"elicitation_callback": elicit, **asked}


@dataclass
class Driver:
    """A client that is driven: how it connects, what it knows then, and how it lists and calls."""

    connection: Callable[[dict], Any]
    connected: Callable[[Any], dict]
    tools: Callable[[Any], Any]
    call: Callable[[Any, dict, Any], Any]


@contextlib.asynccontextmanager
async def connection(target):
    options = {"mode": target.get("era", "auto"), **answering(target.get("answers", {}))}
    if "stdio" in target:
        command, *arguments = target["stdio"]
        server = StdioServerParameters(
            command=command,
            args=arguments,
            env={**os.environ, **target.get("env", {})},
            cwd=target.get("cwd"),
        )
        async with Client(server, **options) as client:
            yield client
        return
    timeout = httpx2.Timeout(30, read=300)
    async with httpx2.AsyncClient(headers=target.get("headers", {}), timeout=timeout) as http:
        async with Client(streamable_http_client(target["http"], http_client=http), **options) as client:
            yield client


def failure(error):
    if isinstance(error, TimeoutError):
        return {"kind": "timeout", "code": None, "message": str(error)}
    if isinstance(error, MCPError):
        kind = "timeout" if error.code in (408, -32001) else "protocol"
        return {"kind": kind, "code": error.code, "message": str(error)}
    return {"kind": "transport", "code": None, "message": f"{type(error).__name__}: {error}"}


async def call(client, command, progress):
    timeout_ms = command.get("timeout_ms")
    return await client.call_tool(
        command["tool"],
        command.get("arguments"),
        read_timeout_seconds=timeout_ms / 1000 if timeout_ms else None,
        progress_callback=progress,
    )


async def tell(driver, client, command):
    identity = command["id"]

    async def progress(value, total, message):
        emit("progress", id=identity, progress=value, total=total, message=message)

    try:
        result = await driver.call(client, command, progress if command.get("progress") else None)
    except asyncio.CancelledError:
        emit("error", id=identity, kind="cancelled", code=None, message="the user pressed stop")
        raise
    except Exception as error:  # whatever the client raises is an answer here
        emit("error", id=identity, **failure(error))
        return
    emit(
        "result",
        id=identity,
        isError=result.is_error is True,
        text="\n".join(block.text for block in result.content if block.type == "text"),
        _meta=result.meta,
        structuredContent=result.structured_content,
    )


async def commands():
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line.strip():
            yield json.loads(line)


async def drive(driver, client):
    calls = {}
    async for command in commands():
        match command["do"]:
            case "list":
                tools = await driver.tools(client)
                tools = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
                emit("tools", tools=tools)
            case "call":
                calls[command["id"]] = asyncio.create_task(tell(driver, client, command))
                await asyncio.sleep(0)  # a task that is cancelled before it starts says nothing
            case "cancel":
                calls[command["id"]].cancel()
            case "close":
                break
    for task in calls.values():
        task.cancel()
    await asyncio.gather(*calls.values(), return_exceptions=True)


async def run(driver):
    target = json.loads(sys.argv[1])
    try:
        async with driver.connection(target) as client:
            emit("connected", **driver.connected(client))
            await drive(driver, client)
    except Exception as error:
        emit("error", id=None, **failure(error))
        return 1
    emit("closed")
    return 0


def connected(client):
    info = client.server_info
    server = {"name": info.name, "version": info.version} if info else None
    return {"server": server, "protocol": client.protocol_version}


async def tools(client):
    return (await client.list_tools()).tools


if __name__ == "__main__":
    sys.exit(asyncio.run(run(Driver(connection, connected, tools, call))))
