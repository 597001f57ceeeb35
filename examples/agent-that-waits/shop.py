"""A tool server with one tool. Every refund is one line of the file that is named on the command line."""

import json
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("shop", log_level="ERROR")


@server.tool()
def refund(order_id: str, amount: int) -> str:
    """Pays money back."""
    with open(sys.argv[1], "a", encoding="utf-8") as file:
        file.write(json.dumps({"order_id": order_id, "amount": amount}) + "\n")
    return f"refunded {amount} for order {order_id}"


server.run("stdio")
