"""A tool server of both eras that writes down every run: one line of LEDGER per call that reached it.

    ledger.py LEDGER stdio
    ledger.py LEDGER http      prints {"event": "ready", "url": "..."} and serves until killed
"""

import asyncio
import json
import socket
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

ledger, transport = sys.argv[1:]
server = MCPServer("ledger", log_level="ERROR")


def record(tool, **arguments):
    with open(ledger, "a", encoding="utf-8") as file:
        file.write(json.dumps({"tool": tool, "arguments": arguments}) + "\n")


@server.tool()
def append(line: str) -> str:
    """Appends a line."""
    record("append", line=line)
    return f"appended {line}"


@server.tool()
def refund(order_id: str, amount: int, reason: str = "") -> str:
    """Pays money back."""
    record("refund", order_id=order_id, amount=amount, reason=reason)
    return f"refunded {amount} for {order_id}"


@server.tool()
def fail(reason: str) -> str:
    """Fails after it ran."""
    record("fail", reason=reason)
    raise ToolError(reason)


@server.tool()
async def slow(seconds: float, ctx: Context) -> str:
    """Runs for a while and says how far it is."""
    record("slow", seconds=seconds)
    steps = 10
    for step in range(1, steps + 1):
        await asyncio.sleep(seconds / steps)
        await ctx.report_progress(step, steps)
    return "done"


if transport == "stdio":
    server.run("stdio")
else:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    print(json.dumps({"event": "ready", "url": url}), flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="error")
    uvicorn.Server(config).run(sockets=[listener])
