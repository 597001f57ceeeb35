"""The bridge over HTTP, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import os
import random
import ssl
import threading
import time
import uuid
from collections import OrderedDict
from typing import Any, List, Mapping, NamedTuple, NoReturn, Optional, Sequence, Tuple
from urllib.parse import quote, urlsplit

from ._decision import Decision, NotAnAnswer, problem_detail, read_decision
from ._errors import InvalidRequest, Pending, Rejected, Unavailable
from ._frozen import freeze

URL = "http://127.0.0.1:7879"
#: Seconds for which one request is held; then the next is sent.
HELD_MAX = 50
#: Seconds beyond the hold that an answer may take.
GRACE = 20.0
CONNECT_WITHIN = 10.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024
#: Seconds between two attempts.
BACK_OFF_FIRST, BACK_OFF_MAX = 0.2, 5.0
RETRY_AFTER_MAX = 30
#: Operations that this process remembers having run.
RUN_MAX = 100_000


class _Answer(NamedTuple):
    status: int
    headers: List[Tuple[str, str]]
    body: bytes


class Stop:
    """Ends a call that another thread waits in."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._connection: Optional[http.client.HTTPConnection] = None

    def set(self) -> None:
        with self._lock:
            self._event.set()
            socket = self._connection.sock if self._connection else None
        if socket is not None:
            try:
                socket.shutdown(2)
            except OSError:
                pass

    def is_set(self) -> bool:
        return self._event.is_set()

    def sleep(self, seconds: float) -> None:
        self._event.wait(seconds)

    def watch(self, connection: Optional[http.client.HTTPConnection]) -> None:
        with self._lock:
            self._connection = connection

    def check(self) -> None:
        if self.is_set():
            raise Unavailable("The call was cancelled.")


class Question:
    """One question: its body and its key are the same however often it is sent."""

    def __init__(self, body: Mapping[str, Any], key: str) -> None:
        self.tool_name: str = body["tool_name"]
        self.target: Optional[str] = body.get("target")
        self.body = freeze({name: value for name, value in body.items() if value is not None}, "question").encode()
        if not (1 <= len(key) <= 255 and all("!" <= letter <= "~" for letter in key)):
            raise ValueError("a key is 1 to 255 visible ASCII characters")
        self.key = key
        #: Its number, as soon as it is known.
        self.operation: Optional[str] = None


class Client:
    """Asks the bridge. May be used by several threads at once.

    :param url: where the bridge is; else ``HOLDPOINT_BRIDGE_URL``, else ``http://127.0.0.1:7879``.
    :param key: the caller's key (``holdpoint callers create``); else ``HOLDPOINT_BRIDGE_KEY``, else none.
    :param retry_for: seconds for which lost connections and 429, 5xx answers are tried again, with the same key.
    """

    def __init__(self, url: Optional[str] = None, key: Optional[str] = None, *, retry_for: float = 30.0) -> None:
        url = (url or os.environ.get("HOLDPOINT_BRIDGE_URL") or URL).rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError(f"not the address of a bridge: {parts.scheme}://{parts.hostname}")
        self._scheme, self._host, self._port, self._path = parts.scheme, parts.hostname, parts.port, parts.path
        self._key = key or os.environ.get("HOLDPOINT_BRIDGE_KEY")
        if self._key and not all("!" <= letter <= "~" for letter in self._key):
            raise ValueError("a caller's key is visible ASCII")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._retry_for = retry_for
        self._ran: "OrderedDict[str, None]" = OrderedDict()
        self._lock = threading.Lock()

    def decide(
        self,
        tool_name: str,
        payload: Optional[Mapping[str, Any]] = None,
        *,
        subject: Optional[str] = None,
        task_id: Optional[str] = None,
        key: Optional[str] = None,
        wait: float = 300.0,
        target: Optional[str] = None,
        workflow_name: Optional[str] = None,
        task_label: Optional[str] = None,
        preview: Optional[str] = None,
        risk_level: Optional[str] = None,
        summary: Optional[Sequence[str]] = None,
    ) -> Decision:
        """Asks, and waits for a yes.

        :param payload: the tool's parameters, as rules and reviewers see them; JSON values only.
        :param key: the name of this question. Asked again with the same key, it is the same question; without one, each
            call is a new question.
        :param wait: seconds to wait for a person.
        :param target: the bridge runs the tool itself, at this configured target.
        :returns: a decision whose ``decision`` is ``"allow"``, and never another. The same key may be told ``allow``
            again: to act once, :meth:`claim` it.
        :raises Rejected: the answer is no.
        :raises Pending: nobody has decided within ``wait``.
        :raises InvalidRequest: the bridge does not take the question.
        :raises Unavailable: anything else.
        """
        body = {
            "tool_name": tool_name,
            "payload": dict(payload or {}),
            "subject": subject,
            "task_id": task_id,
            "target": target,
            "workflow_name": workflow_name,
            "task_label": task_label,
            "preview": preview,
            "risk_level": risk_level,
            "summary": None if summary is None else list(summary),
        }
        return self._ask(Question(body, key or str(uuid.uuid4())), wait, Stop())

    def withdraw(self, operation: str) -> Decision:
        """Takes a question back: the answer is ``deny``, ``cancelled``.

        :raises InvalidRequest: with ``status`` 409, where it is too late: it was decided before.
        """
        return self._one("DELETE", f"/v1/decisions/{_segment(operation)}", {}, operation, (200,))

    def claim(self, operation: str, claimant: str) -> Decision:
        """Makes a yes this claimant's own: of all that claim one, one is told ``allow``, and all others are raised
        :class:`Rejected`. Asked again by the same claimant, the answer is the same. What rules allow without a person is
        on no record, and cannot be claimed.
        """
        path = f"/v1/decisions/{_segment(operation)}/claim"
        decision = self._one("POST", path, {"Idempotency-Key": claimant}, operation, (200, 202, 403))
        return _yes_or_raise(decision)

    def _ask(self, question: Question, wait: float, stop: Stop) -> Decision:
        """Asks, and looks again until it is decided or the time is over."""
        until = time.monotonic() + max(0.0, wait)
        while True:
            left = max(0.0, until - time.monotonic())
            decision = self._look(question, min(HELD_MAX, int(left)), stop)
            question.operation = decision.id
            if decision.decision != "pending":
                return _yes_or_raise(decision)
            if time.monotonic() + 1.0 >= until:
                # Shorter holds than a second do not exist.
                stop.sleep(max(0.0, until - time.monotonic()))
                stop.check()
                last = self._look(question, 0, stop) if wait > 0 else decision
                return _yes_or_raise(last)

    def _look(self, question: Question, held: int, stop: Stop) -> Decision:
        """One answer about the question, whatever it is."""
        if question.operation is None:
            headers = {"Idempotency-Key": question.key, "Content-Type": "application/json"}
            path = f"/v1/decisions?wait={held}"
            answer = self._send("POST", path, headers, question.body, held=held, stop=stop)
        else:
            # Not the address of the answer: the caller's key goes to no other place than the bridge.
            path = f"/v1/decisions/{question.operation}?wait={held}"
            answer = self._send("GET", path, {}, None, held=held, stop=stop)
        decision = self._read(answer, question.tool_name, question.target, question.operation)
        if decision.decision == "pending":
            places = [value for name, value in answer.headers if name.lower() == "location"]
            if len(places) != 1 or not urlsplit(places[0]).path.endswith(f"/v1/decisions/{decision.id}"):
                raise Unavailable("The bridge said `pending` without saying where to look again.")
        return decision

    def _one(
        self, method: str, path: str, headers: Mapping[str, str], operation: str, statuses: Tuple[int, ...]
    ) -> Decision:
        answer = self._send(method, path, headers, None, held=0, stop=Stop())
        if answer.status not in statuses:
            _refused(answer)
        return self._read(answer, None, None, operation)

    @staticmethod
    def _read(
        answer: _Answer, tool_name: Optional[str], target: Optional[str], operation: Optional[str]
    ) -> Decision:
        if 400 <= answer.status < 500 and answer.status not in (403, 409):
            _refused(answer)
        try:
            return read_decision(*answer, tool_name=tool_name, target=target, operation=operation)
        except NotAnAnswer as error:
            if 400 <= answer.status < 500:
                _refused(answer)
            raise Unavailable(f"The bridge's answer cannot be used: {error}.") from error

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: Optional[bytes], *, held: int, stop: Stop
    ) -> _Answer:
        """Sends it until it is answered; the same each time, so that it is one question."""
        back_off, give_up = BACK_OFF_FIRST, None
        while True:
            stop.check()
            pause = back_off * random.uniform(0.5, 1.0)
            try:
                answer = self._exchange(method, path, headers, body, held, stop)
            except (OSError, http.client.HTTPException) as error:
                trouble = f"The bridge cannot be reached: {type(error).__name__}: {error}."
            else:
                if answer.status != 429 and answer.status < 500:
                    return answer
                trouble = f"The bridge is in trouble (status {answer.status})."
                pause = max(pause, _retry_after(answer))
            stop.check()
            # From the first trouble on: an answer may be held for long before.
            give_up = give_up or time.monotonic() + self._retry_for
            if time.monotonic() + pause >= give_up:
                raise Unavailable(f"{trouble} Nothing ran.")
            stop.sleep(pause)
            back_off = min(back_off * 2, BACK_OFF_MAX)

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: Optional[bytes], held: int, stop: Stop
    ) -> _Answer:
        """One request and its answer. Neither redirects nor proxies of the environment are followed."""
        connection: http.client.HTTPConnection
        if self._tls is not None:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=CONNECT_WITHIN, context=self._tls
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_WITHIN)
        sent = {"Accept": "application/json", "User-Agent": "holdpoint-python", **headers}
        if self._key:
            sent["Authorization"] = f"Bearer {self._key}"
        until = time.monotonic() + held + GRACE
        try:
            connection.connect()
            stop.watch(connection)
            stop.check()
            connection.sock.settimeout(held + GRACE)
            connection.request(method, self._path + path, body=body, headers=sent)
            response = connection.getresponse()
            chunks, size = [], 0
            while True:
                chunk = response.read(65536)
                if not chunk:
                    break
                size += len(chunk)
                if size > ANSWER_BYTES_MAX or time.monotonic() > until:
                    raise OSError("the answer is too large, or too slow")
                chunks.append(chunk)
            length = response.getheader("content-length")
            if length is not None and length != str(size):
                raise OSError("the answer broke off")
            return _Answer(response.status, response.getheaders(), b"".join(chunks))
        finally:
            stop.watch(None)
            connection.close()

    def _permit(self, question: Question, wait: float, stop: Stop) -> Decision:
        """A yes to act on, once: no other call of anybody's gets one for this question."""
        decision = self._ask(question, wait, stop)
        if decision.status == "approved":
            # What rules allow by themselves is on no record that could be claimed.
            stop.check()
            decision = self.claim(decision.id, str(uuid.uuid4()))
        with self._lock:
            if decision.id in self._ran:
                raise Rejected(_done(decision))
            self._ran[decision.id] = None
            if len(self._ran) > RUN_MAX:
                self._ran.popitem(last=False)
        return decision

    def _abandon(self, question: Question) -> None:
        """Nobody will come back for this question: it is taken back, as far as that can be."""
        try:
            if question.operation is None:
                question.operation = self._look(question, 0, Stop()).id
            self.withdraw(question.operation)
        except (Unavailable, InvalidRequest):
            # It runs nowhere either way; the bridge lets it expire.
            pass


def _yes_or_raise(decision: Decision) -> Decision:
    if decision.decision == "allow":
        return decision
    if decision.decision == "pending":
        raise Pending(decision)
    raise Rejected(decision)


def _refused(answer: _Answer) -> NoReturn:
    raise InvalidRequest(answer.status, problem_detail(answer.body))


def _done(decision: Decision) -> Decision:
    return Decision(
        decision="deny",
        status="already_done",
        id=decision.id,
        tool_name=decision.tool_name,
        thread_id=decision.thread_id,
        task_id=decision.task_id,
        detail="This call ran before. It does not run again.",
        retry="no",
    )


def _segment(operation: str) -> str:
    return quote(operation, safe="")


def _retry_after(answer: _Answer) -> float:
    for name, value in answer.headers:
        if name.lower() == "retry-after" and value.isascii() and value.isdigit():
            return float(min(int(value[:9]), RETRY_AFTER_MAX))
    return 0.0
