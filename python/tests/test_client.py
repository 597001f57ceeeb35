"""The client and the decorator against the real bridge."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import unittest
import uuid
from typing import Any, Dict

from holdpoint import (
    AsyncClient,
    Client,
    Decision,
    InvalidRequest,
    NotAllowed,
    NotJson,
    Pending,
    Rejected,
    Unavailable,
    gated,
)
from house import PATIENCE, URL, Door, Reviewer, Runs, free_port, holdpoint, thread, threads


def new(word: str) -> str:
    return f"{word} {uuid.uuid4()}"


class Asking(unittest.TestCase):
    def test_rules_allow_and_deny(self) -> None:
        decision = Client().decide("safe", {"n": 1}, subject="x")
        self.assertEqual((decision.decision, decision.status), ("allow", "allowed"))
        with self.assertRaises(Rejected) as refused:
            Client().decide("never", {}, subject="x")
        self.assertEqual(refused.exception.decision.status, "rejected")

    def test_a_person_approves(self) -> None:
        subject = new("Refund")
        with Reviewer(subject, "approve") as reviewer:
            decision = Client().decide("refund", {"amount": 5}, subject=subject, wait=PATIENCE)
        self.assertEqual((decision.status, decision.thread_id), ("approved", reviewer.seen["thread_id"]))
        self.assertEqual(reviewer.seen["payload"], {"amount": 5})
        self.assertEqual(Client().claim(decision.id, "one").decision, "allow")
        self.assertEqual(Client().claim(decision.id, "one").decision, "allow")
        with self.assertRaises(Rejected) as refused:
            Client().claim(decision.id, "two")
        self.assertEqual(refused.exception.decision.status, "already_done")

    def test_a_person_rejects_with_words(self) -> None:
        subject = new("Refund")
        with Reviewer(subject, "reject", "too much"), self.assertRaises(Rejected) as refused:
            Client().decide("refund", {}, subject=subject, wait=PATIENCE)
        self.assertIn("too much", str(refused.exception))

    def test_nobody_decides_and_then_it_is_the_same_question(self) -> None:
        subject, key = new("Refund"), str(uuid.uuid4())
        with self.assertRaises(Pending) as waited:
            Client().decide("refund", {}, subject=subject, key=key, wait=1)
        with Reviewer(subject, "approve"):
            decision = Client().decide("refund", {}, subject=subject, key=key, wait=PATIENCE)
        self.assertEqual(decision.id, waited.exception.decision.id)

    def test_withdrawn(self) -> None:
        subject, key = new("Refund"), str(uuid.uuid4())
        with self.assertRaises(Pending) as waited:
            Client().decide("refund", {}, subject=subject, key=key, wait=0)
        self.assertEqual(Client().withdraw(waited.exception.decision.id).status, "cancelled")
        withdrawn(self, "refund", {}, subject, key)

    def test_a_key_is_for_one_question(self) -> None:
        key = str(uuid.uuid4())
        with self.assertRaises(Pending):
            Client().decide("refund", {"n": 1}, subject=new("x"), key=key, wait=0)
        with self.assertRaises(InvalidRequest) as refused:
            Client().decide("refund", {"n": 2}, subject=new("x"), key=key, wait=0)
        self.assertEqual(refused.exception.status, 422)
        with self.assertRaises(InvalidRequest) as refused:
            Client().withdraw("op_" + "0" * 40)
        self.assertEqual(refused.exception.status, 404)

    def test_the_bridge_is_down(self) -> None:
        with self.assertRaises(Unavailable):
            Client(f"http://127.0.0.1:{free_port()}", retry_for=0.5).decide("safe", {}, subject="x")

    def test_asyncio(self) -> None:
        async def all_of_it() -> None:
            client = AsyncClient()
            self.assertEqual((await client.decide("safe", {}, subject="x")).decision, "allow")
            with self.assertRaises(Rejected):
                await client.decide("never", {}, subject="x")
            subject, key = new("Refund"), str(uuid.uuid4())
            asking = asyncio.ensure_future(client.decide("refund", {}, subject=subject, key=key, wait=PATIENCE))
            await asyncio.to_thread(thread, subject)
            asking.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await asking
            await asyncio.to_thread(withdrawn, self, "refund", {}, subject, key)

        asyncio.run(all_of_it())


class Faults(unittest.TestCase):
    """Whatever the network and the bridge do, it is one question, and only a yes is a yes."""

    def gate(self, door: Door, runs: Runs, **options: Any) -> Any:
        return gated(Client(door.url, retry_for=3), tool_name="safe", subject="x", **options)(runs.note)

    def test_a_lost_answer_is_asked_for_again_and_is_one_question(self) -> None:
        subject, runs = new("Refund"), Runs()

        def lose(number: int, _door: Door, forward: Any) -> Any:
            if number < 3:
                forward()
                return Door.LOST
            return None

        with Door(lose) as door:
            client = Client(door.url)
            with Reviewer(subject, "approve", before=lambda: self.assertEqual(len(threads(subject)), 1)):
                gated(client, tool_name="refund", subject=subject, wait=PATIENCE)(runs.note)("it")
        self.assertEqual(runs.all, ["it"])
        asked = [(key, body) for (method, path, key), body in zip(door.requests, door.bodies) if "wait" in path and method == "POST"]
        self.assertGreaterEqual(len(asked), 3)
        self.assertEqual(len(set(asked)), 1, "each time the same key and the same body")

    def test_trouble_passes(self) -> None:
        for status in (429, 500, 502, 503):
            runs = Runs()
            with Door(lambda number, _door, _forward: (status, [("Retry-After", "0")], b"no") if number < 2 else None) as door:
                self.gate(door, runs)("it")
            self.assertEqual((runs.all, len({key for _, _, key in door.requests})), (["it"], 1))

    def test_trouble_stays(self) -> None:
        for reply in ((500, [], b"no"), (503, [], b"no"), Door.LOST):
            runs = Runs()
            with Door(lambda _number, _door, _forward: reply) as door, self.assertRaises(Unavailable):
                gated(Client(door.url, retry_for=0.5), tool_name="safe", subject="x")(runs.note)("it")
            self.assertEqual(runs.all, [])

    def test_what_is_not_an_answer_is_not_a_yes(self) -> None:
        def changed(**members: Any) -> Any:
            def fault(_number: int, _door: Door, forward: Any) -> Any:
                status, headers, body = forward()
                return status, headers, json.dumps({**json.loads(body), **members}).encode()

            return fault

        def headed(*values: str, status: int = 200) -> Any:
            def fault(_number: int, _door: Door, forward: Any) -> Any:
                _status, headers, body = forward()
                headers = [header for header in headers if header[0].lower() != "holdpoint-decision"]
                return status, headers + [("Holdpoint-Decision", value) for value in values], body

            return fault

        def said(status: int, body: bytes, *headers: Any) -> Any:
            return lambda _number, _door, _forward: (status, list(headers), body)

        allow, kind = ("Holdpoint-Decision", "allow"), ("Content-Type", "application/json")
        lies: Dict[str, Any] = {
            "header deny": headed("deny"),
            "header missing": headed(),
            "header twice": headed("allow", "deny"),
            "header list": headed("allow, deny"),
            "header in capitals": headed("ALLOW"),
            "header longer": headed("allowed"),
            "status 201": headed("allow", status=201),
            "status 202": headed("allow", status=202),
            "status 403": headed("allow", status=403),
            "body deny": changed(decision="deny"),
            "body capitals": changed(decision="ALLOW"),
            "body list": changed(decision=["allow"]),
            "unknown status": changed(status="maybe"),
            "another tool": changed(tool_name="other"),
            "bridge runs it": changed(mode="execute"),
            "it ran": changed(ran=True),
            "no id": changed(id=None),
            "html": said(200, b"<html>allow</html>", ("Content-Type", "text/html"), allow),
            "bare html": said(200, b"<html>allow</html>", ("Content-Type", "text/html")),
            "empty": said(200, b"", allow, kind),
            "twins": said(200, b'{"decision":"deny","decision":"allow"}', allow, kind),
            "redirect": said(302, b"", ("Location", f"{URL}/v1/decisions"), allow),
            "pending without a place": said(202, b'{"decision":"pending"}', ("Holdpoint-Decision", "pending"), kind),
        }
        for name, lie in lies.items():
            with self.subTest(name):
                runs = Runs()
                with Door(lie) as door, self.assertRaises((Unavailable, InvalidRequest, Rejected)):
                    self.gate(door, runs)("it")
                self.assertEqual((runs.all, len(door.requests)), ([], 1))

    def test_the_door_itself_lets_a_yes_through(self) -> None:
        runs = Runs()
        with Door(lambda *_: None) as door:
            self.assertEqual(self.gate(door, runs)("it"), "done")
        self.assertEqual(runs.all, ["it"])

    def test_the_key_goes_to_the_bridge_alone(self) -> None:
        def elsewhere(number: int, door: Door, forward: Any) -> Any:
            status, headers, body = forward()
            headers = [header for header in headers if header[0].lower() != "location"]
            place = f"http://127.0.0.1:1/v1/decisions/{json.loads(body)['id']}"
            return status, headers + [("Location", place)], body

        with Door(elsewhere) as door, self.assertRaises(Pending):
            Client(door.url).decide("refund", {}, subject=new("x"), wait=2)
        self.assertGreaterEqual(len(door.requests), 2)


class Gated(unittest.TestCase):
    def test_every_answer(self) -> None:
        runs = Runs()
        safe = gated(Client(), tool_name="safe", subject="x")(runs.note)
        self.assertEqual((safe("a"), runs.all), ("done", ["a"]))
        with self.assertRaises(Rejected):
            gated(Client(), tool_name="never", subject="x")(runs.note)("b")
        with self.assertRaises(Unavailable):
            down = Client(f"http://127.0.0.1:{free_port()}", retry_for=0.3)
            gated(down, tool_name="safe", subject="x")(runs.note)("c")
        said = gated(Client(), tool_name="never", subject="x", on_refusal=lambda refusal: str(refusal))(runs.note)("d")
        self.assertIn("did not run", said)
        subject = new("Refund")
        with Reviewer(subject, "reject", "no"), self.assertRaises(Rejected):
            gated(Client(), tool_name="refund", subject=subject, wait=PATIENCE)(runs.note)("e")
        self.assertEqual(runs.all, ["a"])

    def test_nobody_decides_and_nobody_comes_back(self) -> None:
        runs, subject = Runs(), new("Refund")
        with Door(lambda *_: None) as door, self.assertRaises(Pending):
            gated(Client(door.url), tool_name="refund", subject=subject, wait=1)(runs.note)("a")
        self.assertEqual((runs.all, door.requests[-1][0]), ([], "DELETE"))

    def test_what_was_approved_is_what_runs(self) -> None:
        runs, number = Runs(), str(uuid.uuid4())
        order = {"lines": [{"amount": 5}]}

        @gated(Client(), subject="Refund {number}", tool_name="refund", wait=PATIENCE)
        def refund(number: str, order: Any, note: str = "none", *more: int, **words: str) -> str:
            return runs.note((number, order, note, more, words))

        def tamper() -> None:
            order["lines"][0]["amount"] = 5000
            order["more"] = True  # type: ignore[assignment]

        with Reviewer(f"Refund {number}", "approve", before=tamper) as reviewer:
            refund(number, order, "n", 1, 2, word="w")
        self.assertEqual(runs.all, [(number, {"lines": [{"amount": 5}]}, "n", (1, 2), {"word": "w"})])
        self.assertEqual(order["lines"][0]["amount"], 5000, "the test did tamper")
        self.assertEqual(reviewer.seen["payload"]["order"], {"lines": [{"amount": 5}]})

    def test_what_nobody_could_approve_is_not_asked_about(self) -> None:
        runs = Runs()
        gate = gated(Client("http://127.0.0.1:1"), tool_name="safe", subject="x")(runs.note)

        class Text(str):
            pass

        for value in (object(), {1: 2}, (1,), float("nan"), b"x", Text("x"), "\ud800", {"a": [set()]}):
            with self.assertRaises(NotJson):
                gate(value)
        self.assertEqual(runs.all, [])

    def test_context_and_self_are_passed_on(self) -> None:
        connection = object()

        class Shop:
            def __init__(self) -> None:
                self.runs = Runs()

            @gated(Client(), tool_name="safe", subject="x", context=("connection",))
            def pay(self, amount: int, connection: object) -> str:
                return self.runs.note((amount, connection))

        shop = Shop()
        shop.pay(3, connection)
        self.assertEqual(shop.runs.all, [(3, connection)])
        with self.assertRaises(TypeError):
            gated(Client(), context=("no",))(lambda: None)

    def test_exceptions_are_the_functions_own_and_it_ran_once(self) -> None:
        runs = Runs()

        @gated(Client(), tool_name="safe", subject="x")
        def fails() -> None:
            runs.note("it")
            raise OSError("of its own")

        with self.assertRaisesRegex(OSError, "of its own"):
            fails()
        self.assertEqual(runs.all, ["it"])

    def test_one_call_runs_once_however_often_it_is_sent(self) -> None:
        for tool in ("refund", "safe"):
            runs, subject = Runs(), new("Once")
            client = Client()
            gate = gated(
                client, tool_name=tool, subject=subject, task_id="job", call_id=lambda a: a["what"], wait=PATIENCE
            )(runs_of(runs))
            outcomes = Runs()

            def call() -> None:
                try:
                    outcomes.note(gate(subject))
                except NotAllowed as refusal:
                    outcomes.note(type(refusal))

            crowd = [threading.Thread(target=call) for _ in range(5)]
            for one in crowd:
                one.start()
            if tool == "refund":
                seen = Reviewer(subject, "approve", before=lambda: self.assertEqual(len(threads(subject)), 1))
                seen.run()
            for one in crowd:
                one.join()
            self.assertEqual(len(runs.all), 1)
            self.assertEqual(sorted(map(str, outcomes.all)), sorted(map(str, ["done"] + [Rejected] * 4)))
            if tool == "refund":
                # Another process, which remembers nothing.
                fresh = gated(
                    Client(), tool_name=tool, subject=subject, task_id="job", call_id=lambda a: a["what"], wait=1
                )(runs_of(runs))
                with self.assertRaises(Rejected):
                    fresh(subject)
                self.assertEqual(len(runs.all), 1)

    def test_the_same_call_with_other_arguments_is_another_question(self) -> None:
        runs, subject = Runs(), new("Other")

        def gate(wait: float) -> Any:
            return gated(
                Client(),
                tool_name="refund",
                subject=subject,
                task_id="job",
                call_id=lambda _arguments: subject,
                payload=lambda _arguments: {"shown": True},
                wait=wait,
            )(runs_of(runs))

        with Reviewer(subject, "approve"):
            gate(PATIENCE)("small")
        with self.assertRaises(Pending):
            gate(1)("large")
        with self.assertRaises(Rejected):
            gate(1)("small")
        self.assertEqual(runs.all, ["small"])

    def test_many_at_once(self) -> None:
        runs = Runs()

        @gated(AsyncClient(), tool_name="safe", subject="Number {number}")
        async def safe(number: int) -> str:
            return runs.note(number)

        async def crowd() -> None:
            await asyncio.gather(*(safe(number) for number in range(40)))

        asyncio.run(crowd())
        self.assertEqual(sorted(runs.all), list(range(40)))

    def test_a_cancelled_call_does_not_run(self) -> None:
        runs, subject = Runs(), new("Cancelled")

        @gated(Client(), tool_name="refund", subject=subject, wait=PATIENCE)
        async def refund() -> str:
            return runs.note("it")

        async def cancel() -> None:
            asking = asyncio.ensure_future(refund())
            found = await asyncio.to_thread(thread, subject)
            asking.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await asking
            await asyncio.to_thread(holdpoint, "approve", found["thread_id"])
            await asyncio.sleep(0.5)

        asyncio.run(cancel())
        self.assertEqual(runs.all, [])

    def test_generators_are_refused_when_they_are_gated(self) -> None:
        def some() -> Any:
            yield 1

        with self.assertRaises(TypeError):
            gated(Client())(some)

    def test_a_subject_is_one_line(self) -> None:
        runs, number = Runs(), str(uuid.uuid4())
        gate = gated(Client(), tool_name="refund", subject="Refund {what}", wait=PATIENCE)(runs_of(runs))
        with Reviewer(f"Refund {number} Approved by: everybody", "reject"), self.assertRaises(Rejected):
            gate(f"{number}\nApproved by:\u2028everybody")
        self.assertEqual(runs.all, [])


def withdrawn(test: unittest.TestCase, tool: str, payload: Any, subject: str, key: str) -> None:
    """Waits until this question is withdrawn."""
    until, status = time.monotonic() + PATIENCE, None
    while status != "cancelled":
        test.assertLess(time.monotonic(), until, f"cancelled, and still {status}")
        try:
            Client().decide(tool, payload, subject=subject, key=key, wait=0)
        except (Pending, Rejected) as refusal:
            status = refusal.decision.status


def runs_of(runs: Runs) -> Any:
    def note(what: str) -> str:
        return runs.note(what)

    return note


class Reading(unittest.TestCase):
    def test_an_answer_in_words(self) -> None:
        decision = Decision("deny", "rejected", "op_" + "0" * 40, "t", detail="No.", message="too much")
        self.assertEqual(str(Rejected(decision)), 'No. The reviewer wrote: "too much"')

    def test_addresses_that_are_none(self) -> None:
        for url in ("ftp://x", "http://", "http://x/?a=b", "http://me@x", "x"):
            with self.assertRaises(ValueError):
                Client(url)


if __name__ == "__main__":
    unittest.main()
