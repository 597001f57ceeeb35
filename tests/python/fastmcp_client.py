"""fastmcp: both eras, chosen by "era". Commands and events are those of ../node/drive.mjs."""

import asyncio
import os
import sys

import mcp_types
from client import Driver, connected, emit, run
from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.progress import default_progress_handler
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport


def answering(answers):
    """What the client tells servers that ask; without `answers` it knows of elicitation alone."""

    async def elicit(_message, _response_type, params, _context):
        emit("elicitation", params=params.model_dump(mode="json", by_alias=True, exclude_none=True))
        return ElicitResult(action="accept", content=answers.get("elicitation", {}))

    async def sample(_messages, params, _context):
        emit("sampling", params=params.model_dump(mode="json", by_alias=True, exclude_none=True))
        return answers["sampling"]

    async def roots(_context):
        return [answers["root"]]

    asked = {"sampling_handler": sample, "roots": roots} if answers else {}
    return {"elicitation_handler": elicit, **asked}


def connection(target):
    if "stdio" in target:
        command, *arguments = target["stdio"]
        environment = {**os.environ, **target.get("env", {})}
        # One process for each connection, which ends with it.
        transport = StdioTransport(command, arguments, env=environment, cwd=target.get("cwd"), keep_alive=False)
    else:
        transport = StreamableHttpTransport(target["http"], headers=target.get("headers", {}))
    named = mcp_types.Implementation(name="holdpoint-e2e-fastmcp", version="1")
    answers = answering(target.get("answers", {}))
    return Client(transport, mode=target.get("era", "auto"), client_info=named, **answers)


async def call(client, command, progress):
    # It asks for progress whether anybody looks at it or not.
    return await client.call_tool(
        command["tool"],
        command.get("arguments"),
        timeout=command["timeout_ms"] / 1000 if "timeout_ms" in command else None,
        progress_handler=progress or default_progress_handler,
        raise_on_error=False,
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(run(Driver(connection, connected, lambda client: client.list_tools(), call))))
