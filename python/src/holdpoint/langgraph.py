"""LangChain tools that ask first: for LangGraph's ``ToolNode``, ``create_agent``, and whoever else invokes a tool.

Needs ``langchain-core``. What comes back for a refusal is a tool message with status ``error``, so that the model reads why
and the graph goes on.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple, Union, get_type_hints

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, ToolException
from pydantic import PrivateAttr

from ._aio import AsyncClient
from ._client import Client, Question
from ._errors import NotAllowed
from ._frozen import freeze, thaw
from ._gated import Payload, Plan, Subject, both, permit, permit_async, task_name

__all__ = ["GatedTool", "gate_tool"]

_NEVER_ARGUMENTS = ("callbacks", "run_manager")


def gate_tool(
    tool: BaseTool,
    client: Union[Client, AsyncClient],
    *,
    subject: Optional[Subject] = None,
    tool_name: Optional[str] = None,
    payload: Optional[Payload] = None,
    task_id: Optional[Callable[[Any], str]] = None,
    wait: float = 300.0,
    workflow_name: Optional[str] = None,
    risk_level: Optional[str] = None,
) -> "GatedTool":
    """The same tool, with the same name and schema, that runs only when the bridge allows it.

    The job is the graph's ``thread_id`` and the call is the model's tool call, so that a call that a framework sends again
    is the same question and runs once. Arguments that the graph injects (state, store, runtime) are passed on as they are
    and are not part of what is approved. ``task_id`` is a callable of the ``RunnableConfig``; the other parameters are those
    of :func:`holdpoint.gated`.
    """
    known = ("name", "description", "args_schema", "return_direct", "verbose", "tags", "metadata", "response_format", "extras")
    fields = {name: getattr(tool, name) for name in known if hasattr(tool, name)}
    gated = GatedTool(**fields)
    gated._inner, gated._clients = tool, both(client)
    gated._plan = Plan(
        tool_name or tool.name, subject, payload, {"workflow_name": workflow_name, "risk_level": risk_level}
    )
    gated._task, gated._wait = task_id, wait
    return gated


class GatedTool(BaseTool):
    """What :func:`gate_tool` returns."""

    _inner: BaseTool = PrivateAttr()
    _clients: Tuple[Client, AsyncClient] = PrivateAttr()
    _plan: Plan = PrivateAttr()
    _task: Optional[Callable[[Any], str]] = PrivateAttr(default=None)
    _wait: float = PrivateAttr(default=300.0)

    def run(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        """Every way to invoke a tool comes by here."""
        given, question, keeps = self._prepared(tool_input, kwargs)
        try:
            permit(self._clients[0], question, self._wait, keeps)
        except NotAllowed as refusal:
            return self._refused(refusal, kwargs)
        return self._inner.run(given, *args, **kwargs)

    async def arun(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        """The same for asyncio."""
        given, question, keeps = self._prepared(tool_input, kwargs)
        try:
            await permit_async(self._clients[1], question, self._wait, keeps)
        except NotAllowed as refusal:
            return self._refused(refusal, kwargs)
        return await self._inner.arun(given, *args, **kwargs)

    def _prepared(self, tool_input: Any, kwargs: Dict[str, Any]) -> Tuple[Any, Question, bool]:
        """What the tool gets, the question about it, and whether it can be asked again."""
        call_id, config = kwargs.get("tool_call_id"), kwargs.get("config") or {}
        if isinstance(tool_input, str):
            frozen = freeze({"input": tool_input}, self.name)
            given: Any = tool_input
        else:
            for name in _NEVER_ARGUMENTS:
                # LangChain hides these from everybody but the tool.
                if name in tool_input:
                    raise ToolException(f"`{name}` cannot be an argument of a gated tool")
            model_made = self._inner._filter_injected_args(tool_input)
            frozen = freeze(model_made, self.name)
            injected = {name: value for name, value in tool_input.items() if name not in model_made}
            # A person is not asked about what the tool would not take.
            self._inner._parse_input({**thaw(frozen), **injected}, call_id)
            given = {**thaw(frozen), **injected}
        thread = (config.get("configurable") or {}).get("thread_id")
        task = self._task(config) if self._task else None if thread is None else task_name(str(thread))
        # Tool calls are unique within a conversation only.
        keeps = task is not None and call_id is not None
        return given, self._plan.question(frozen, task, call_id if keeps else None), keeps

    def _refused(self, refusal: NotAllowed, kwargs: Dict[str, Any]) -> ToolMessage:
        call_id, text = kwargs.get("tool_call_id"), f"This did not run. {refusal}"
        if call_id is None:
            raise ToolException(text) from refusal
        return ToolMessage(text, tool_call_id=call_id, name=self.name, status="error")

    @property
    def func(self) -> Callable[..., Any]:
        """For `ToolNode`, which looks here for what to inject. It cannot be called."""
        inner = getattr(self._inner, "func", None) or getattr(self._inner, "coroutine", None) or self._inner._run

        def cannot_be_called(*_args: Any, **_kwargs: Any) -> Any:
            raise ToolException("a gated tool is run by `invoke` or `ainvoke`")

        cannot_be_called.__annotations__ = get_type_hints(inner, include_extras=True)
        return cannot_be_called

    @property
    def _injected_args_keys(self) -> "frozenset[str]":
        return self._inner._injected_args_keys

    @property
    def tool_call_schema(self) -> Any:
        return self._inner.tool_call_schema

    def get_input_schema(self, config: Any = None) -> Any:
        return self._inner.get_input_schema(config)

    def _run(self, *_args: Any, **_kwargs: Any) -> Any:
        raise ToolException("a gated tool is run by `invoke` or `ainvoke`")
