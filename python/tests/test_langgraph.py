"""Tools of LangChain in LangGraph's own ToolNode and graph."""

from __future__ import annotations

import asyncio
import unittest
import uuid
from typing import Annotated, Any, Dict, List

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, StructuredTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, ToolNode, tools_condition

from holdpoint import AsyncClient, Client
from holdpoint.langgraph import gate_tool
from house import PATIENCE, Reviewer, Runs, free_port, threads


def asks(name: str, arguments: Dict[str, Any], call: str = "call_1") -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": call, "type": "tool_call"}])


def graph(model: List[AIMessage], tools: List[Any]) -> Any:
    """A model that says what it was told to, and its tools."""
    script = GenericFakeChatModel(messages=iter(model))
    built = StateGraph(MessagesState)
    built.add_node("model", lambda state: {"messages": [script.invoke(state["messages"])]})
    built.add_node("tools", ToolNode(tools))
    built.add_edge(START, "model")
    built.add_conditional_edges("model", tools_condition, {"tools": "tools", END: END})
    built.add_edge("tools", "model")
    return built.compile(checkpointer=InMemorySaver())


def tools_said(state: Any) -> List[ToolMessage]:
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]


class InAGraph(unittest.TestCase):
    def setUp(self) -> None:
        self.runs, self.name = Runs(), str(uuid.uuid4())
        self.config = {"configurable": {"thread_id": self.name}}

    def refund(self) -> Any:
        @tool
        def refund(order: str, amount: float) -> str:
            """Pays an order back."""
            return self.runs.note((order, amount))

        return refund

    def start(self, *calls: AIMessage, **options: Any) -> Any:
        gated = gate_tool(self.refund(), Client(retry_for=1), subject="Refund {order}", **{"wait": PATIENCE, **options})
        return graph([*calls, AIMessage("done")], [gated])

    def test_the_model_sees_the_same_tool(self) -> None:
        inner = self.refund()
        gated = gate_tool(inner, Client(), subject="x")
        self.assertEqual((gated.name, gated.description, gated.args), (inner.name, inner.description, inner.args))
        self.assertEqual(gated.tool_call_schema.model_json_schema(), inner.tool_call_schema.model_json_schema())

    def test_approved_and_sent_again(self) -> None:
        call = asks("refund", {"order": self.name, "amount": 5.0})
        with Reviewer(f"Refund {self.name}", "approve") as reviewer:
            state = self.start(call).invoke({"messages": [HumanMessage("go")]}, self.config)
        self.assertEqual([(said.content, said.status) for said in tools_said(state)], [("done", "success")])
        self.assertEqual(reviewer.seen["payload"], {"order": self.name, "amount": 5.0})
        self.assertEqual(reviewer.seen["task_id"], self.name, "the job is the graph's thread")
        self.assertEqual(self.runs.all, [(self.name, 5.0)])
        # The same thread, the same tool call: by a graph that knows nothing of the first.
        again = self.start(call).invoke({"messages": [HumanMessage("go")]}, self.config)
        self.assertEqual([said.status for said in tools_said(again)], ["error"])
        self.assertEqual(self.runs.all, [(self.name, 5.0)])

    def test_rejected_and_the_model_reads_why(self) -> None:
        with Reviewer(f"Refund {self.name}", "reject", "at most 3"):
            graph = self.start(asks("refund", {"order": self.name, "amount": 5.0}))
            state = graph.invoke({"messages": [HumanMessage("go")]}, self.config)
        (said,) = tools_said(state)
        self.assertEqual((said.status, said.tool_call_id, said.name), ("error", "call_1", "refund"))
        self.assertIn("at most 3", said.content)
        self.assertEqual((self.runs.all, state["messages"][-1].content), ([], "done"))

    def test_rules_and_deadlines_and_no_bridge(self) -> None:
        call = asks("refund", {"order": self.name, "amount": 5.0})
        down = Client(f"http://127.0.0.1:{free_port()}", retry_for=0.3)
        for client, options in ((Client(), {"tool_name": "never"}), (Client(), {"wait": 1}), (down, {})):
            gated = gate_tool(self.refund(), client, subject="Refund {order}", **options)
            state = graph([call, AIMessage("done")], [gated]).invoke({"messages": [HumanMessage("go")]}, self.config)
            self.assertEqual([said.status for said in tools_said(state)], ["error"])
        self.assertEqual(self.runs.all, [])

    def test_asyncio(self) -> None:
        @tool
        async def refund(order: str) -> str:
            """Pays an order back."""
            return self.runs.note(order)

        gated = gate_tool(refund, AsyncClient(), subject="Refund {order}", wait=PATIENCE)
        built = graph([asks("refund", {"order": self.name}), AIMessage("done")], [gated])
        with Reviewer(f"Refund {self.name}", "approve"):
            state = asyncio.run(built.ainvoke({"messages": [HumanMessage("go")]}, self.config))
        self.assertEqual(([said.content for said in tools_said(state)], self.runs.all), (["done"], [self.name]))

    def test_what_a_tool_would_not_take_is_not_asked_about(self) -> None:
        state = self.start(asks("refund", {"order": self.name})).invoke({"messages": [HumanMessage("go")]}, self.config)
        self.assertEqual([said.status for said in tools_said(state)], ["error"])
        self.assertEqual((self.runs.all, threads(f"Refund {self.name}")), ([], []))

    def test_what_the_graph_injects_is_passed_on(self) -> None:
        def safe(order: str, state: Annotated[Any, InjectedState], call: Annotated[str, InjectedToolCallId]) -> str:
            """Looks."""
            return self.runs.note((order, len(state["messages"]), call))

        gated = gate_tool(StructuredTool.from_function(safe), Client(), subject="{order}")
        state = graph([asks("safe", {"order": "7"}), AIMessage("done")], [gated]).invoke(
            {"messages": [HumanMessage("go")]}, self.config
        )
        self.assertEqual([(said.content, said.status) for said in tools_said(state)], [("done", "success")])
        self.assertEqual(self.runs.all, [("7", 2, "call_1")])

    def test_there_is_no_way_around(self) -> None:
        gated = gate_tool(self.refund(), Client(), tool_name="never", subject="x")
        arguments = {"order": self.name, "amount": 1.0}
        for way in (
            lambda: gated.invoke(arguments),
            lambda: gated.run(arguments),
            lambda: gated.func(**arguments),
            lambda: gated._run(**arguments),
            lambda: asyncio.run(gated.ainvoke(arguments)),
            lambda: asyncio.run(gated._arun(**arguments)),
            lambda: gated.invoke({**arguments, "callbacks": []}),
        ):
            with self.assertRaises(ToolException):
                way()
        self.assertEqual(self.runs.all, [])


if __name__ == "__main__":
    unittest.main()
