"""Function tools of the OpenAI Agents SDK that ask first.

Needs ``openai-agents``. What the model reads for a refusal is why the tool did not run; the run goes on.
"""

from __future__ import annotations

import copy
import json
from typing import Any, Callable, Optional, Union

from agents import FunctionTool
from agents.tool_context import ToolContext
from agents.tracing import get_current_trace

from ._aio import AsyncClient
from ._client import Client
from ._errors import NotAllowed
from ._frozen import NotJson, freeze
from ._gated import Payload, Plan, Subject, both, permit_async, task_name

__all__ = ["gate_tool"]


def gate_tool(
    tool: FunctionTool,
    client: Union[Client, AsyncClient],
    *,
    subject: Optional[Subject] = None,
    tool_name: Optional[str] = None,
    payload: Optional[Payload] = None,
    task_id: Optional[Callable[[Any], str]] = None,
    wait: float = 300.0,
    workflow_name: Optional[str] = None,
    risk_level: Optional[str] = None,
) -> FunctionTool:
    """A copy of the tool that runs only when the bridge allows it.

    The job is the run's ``group_id``, else its trace; the call is the model's tool call, so that a call that is sent again is
    the same question and runs once. ``task_id`` is a callable of the ``ToolContext``; the other parameters are those of
    :func:`holdpoint.gated`. A ``timeout_seconds`` of the tool covers the wait as well, and withdraws the question.
    """
    inner = tool.on_invoke_tool
    _sync_client, asking = both(client)
    plan = Plan(tool_name or tool.name, subject, payload, {"workflow_name": workflow_name, "risk_level": risk_level})

    async def ask_first(context: ToolContext[Any], arguments: str) -> Any:
        try:
            frozen = freeze(_object(arguments), tool.name)
        except (ValueError, NotJson) as error:
            return f"This did not run. Its arguments cannot be read: {error}"
        task = task_id(context) if task_id else _task(context)
        # Tool calls are unique within a conversation only.
        call_id = None if task is None else context.tool_call_id
        try:
            await permit_async(asking, plan.question(frozen, task, call_id), wait, call_id is not None)
        except NotAllowed as refusal:
            return f"This did not run. {refusal}"
        # What the SDK has parsed itself is not what was asked about.
        context._function_tool_arguments = None
        return await inner(context, frozen)

    gated = copy.copy(tool)
    gated.on_invoke_tool = ask_first
    return gated


def _object(arguments: str) -> Any:
    """As the model wrote them; nothing in it may be there twice."""
    value = json.loads(arguments or "{}", object_pairs_hook=_without_twins)
    if not isinstance(value, dict):
        raise ValueError("they are not an object")
    return value


def _without_twins(pairs: Any) -> Any:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is there twice")
    return members


def _task(context: ToolContext[Any]) -> Optional[str]:
    group = getattr(context.run_config, "group_id", None)
    if group:
        return task_name(str(group))
    trace = get_current_trace()
    # Without tracing, all runs would share the name.
    return trace.trace_id if trace is not None and trace.trace_id.startswith("trace_") else None
