"""Function tools of the OpenAI Agents SDK in its own Runner, with a model that follows a script."""

from __future__ import annotations

import asyncio
import json
import unittest
import uuid
from typing import Any, AsyncIterator, List

from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage, function_tool
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from holdpoint import Client
from holdpoint.openai_agents import gate_tool
from house import PATIENCE, Reviewer, Runs, free_port, threads


class Script(Model):
    """Says one thing after the other, and keeps what it was given."""

    def __init__(self, *says: Any) -> None:
        self.says, self.heard = list(says), []  # type: ignore[var-annotated]

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        heard = kwargs.get("input", args[1] if len(args) > 1 else None)
        self.heard.append(heard)
        return ModelResponse(output=[self.says.pop(0)], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        raise NotImplementedError

    def outputs(self) -> List[str]:
        return [item["output"] for item in self.heard[-1] if item.get("type") == "function_call_output"]


def call(name: str, arguments: str, number: str = "call_1") -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(name=name, arguments=arguments, call_id=number, type="function_call")


def done() -> ResponseOutputMessage:
    text = ResponseOutputText(text="done", type="output_text", annotations=[])
    return ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")


class InARun(unittest.TestCase):
    def setUp(self) -> None:
        self.runs, self.name = Runs(), str(uuid.uuid4())

    def run_agent(self, arguments: str, client: Any = None, **options: Any) -> List[str]:
        runs = self.runs

        @function_tool
        def refund(order: str, amount: float) -> str:
            """Pays an order back."""
            return runs.note((order, amount))

        gated = gate_tool(refund, client or Client(), subject="Refund {order}", **{"wait": PATIENCE, **options})
        self.assertEqual((gated.name, gated.params_json_schema), (refund.name, refund.params_json_schema))
        model = Script(call("refund", arguments), done())
        agent = Agent(name="shop", model=model, tools=[gated])
        result = asyncio.run(Runner.run(agent, "go", run_config=RunConfig(group_id=self.name)))
        self.assertEqual(result.final_output, "done", "the run goes on")
        return model.outputs()

    def order(self, amount: float = 5.0) -> str:
        return json.dumps({"order": self.name, "amount": amount})

    def test_approved_and_sent_again(self) -> None:
        with Reviewer(f"Refund {self.name}", "approve") as reviewer:
            self.assertEqual(self.run_agent(self.order()), ["done"])
        self.assertEqual(reviewer.seen["payload"], {"order": self.name, "amount": 5.0})
        self.assertEqual(reviewer.seen["task_id"], self.name, "the job is the run's group")
        (said,) = self.run_agent(self.order())
        self.assertIn("did not run", said)
        self.assertEqual(self.runs.all, [(self.name, 5.0)])

    def test_rejected_and_the_model_reads_why(self) -> None:
        with Reviewer(f"Refund {self.name}", "reject", "at most 3"):
            (said,) = self.run_agent(self.order())
        self.assertIn("at most 3", said)
        self.assertEqual(self.runs.all, [])

    def test_rules_allow(self) -> None:
        self.assertEqual(self.run_agent(self.order(), tool_name="safe"), ["done"])
        self.assertEqual(self.runs.all, [(self.name, 5.0)])

    def test_rules_and_deadlines_and_no_bridge(self) -> None:
        down = Client(f"http://127.0.0.1:{free_port()}", retry_for=0.3)
        for client, options in ((Client(), {"tool_name": "never"}), (Client(), {"wait": 1}), (down, {})):
            (said,) = self.run_agent(self.order(), client, **options)
            self.assertIn("This did not run.", said)
        self.assertEqual(self.runs.all, [])

    def test_arguments_with_two_readings_are_not_asked_about(self) -> None:
        for arguments in (f'{{"order":"{self.name}","amount":1,"amount":500}}', "[1]", "not JSON", '{"amount":NaN}'):
            (said,) = self.run_agent(arguments)
            self.assertIn("This did not run.", said)
        self.assertEqual((self.runs.all, threads(f"Refund {self.name}")), ([], []))


if __name__ == "__main__":
    unittest.main()
