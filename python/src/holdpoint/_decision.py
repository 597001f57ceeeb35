"""What the bridge answers, read so that nothing but an answer is taken for one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Tuple

#: As the bridge numbers operations.
_ID = re.compile(r"op_[0-9a-f]{40}", re.ASCII)
#: How a yes may come about. Another word could mean something that we do not know.
_ALLOWED = frozenset({"allowed", "passed", "approved"})
_TYPE = "application/json"


class NotAnAnswer(Exception):
    """Status, header and body are not one answer."""


@dataclass(frozen=True)
class Decision:
    """An answer of the bridge."""

    #: ``allow``, ``deny`` or ``pending``. Compare with equality.
    decision: str
    #: How it came about: ``approved``, ``rejected``, ``expired``, …
    status: str
    #: The number of the operation.
    id: str
    tool_name: str
    #: The review, where there is one.
    thread_id: Optional[str] = None
    task_id: Optional[str] = None
    #: The reviewer's words.
    message: Optional[str] = None
    #: A sentence for people and models.
    detail: Optional[str] = None
    #: Where people look at it.
    review_url: Optional[str] = None
    #: What to do next: ``same_call``, ``ask_again``, ``other_call`` or ``no``.
    retry: Optional[str] = None
    #: Where the bridge ran it (``target``): whether it did. ``None``: nobody knows, or it is for the caller to run.
    ran: Optional[bool] = None
    #: Where the bridge ran it: what came of it.
    result: Optional[Mapping[str, Any]] = None

    def text(self) -> str:
        """The answer in words, for a model or a log."""
        words = self.detail or f"{self.decision} ({self.status})."
        if self.message:
            words += f' The reviewer wrote: "{self.message}"'
        if self.decision == "pending" and self.review_url:
            words += f" Review: {self.review_url}"
        return words


def read_decision(
    status: int,
    headers: Sequence[Tuple[str, str]],
    body: bytes,
    *,
    tool_name: Optional[str],
    target: Optional[str],
    operation: Optional[str],
) -> Decision:
    """The one answer that status, header and body give about this question.

    ``tool_name`` and ``operation`` are what it has to be about, as far as the caller knows them.
    """
    words = [value for name, value in headers if name.lower() == "holdpoint-decision"]
    if len(words) != 1 or words[0] not in ("allow", "deny", "pending"):
        raise NotAnAnswer(f"it has no single decision in its header, and status {status}")
    word = words[0]
    members = _object(headers, body)
    if members.get("decision") != word:
        raise NotAnAnswer("its header and its body do not agree")
    expected = {"allow": (200,), "deny": (200, 403), "pending": (202,)}
    if status not in expected[word]:
        raise NotAnAnswer(f"`{word}` does not come with status {status}")
    decision = _read(members)
    if tool_name is not None and decision.tool_name != tool_name:
        raise NotAnAnswer("it is about another tool")
    if operation is not None and decision.id != operation:
        raise NotAnAnswer("it is about another operation")
    if word == "allow":
        if decision.status not in _ALLOWED:
            raise NotAnAnswer("it is a yes of a kind that is not known here")
        if members.get("mode") != ("check" if target is None else "execute") or members.get("target") != target:
            raise NotAnAnswer("it leaves open who runs it")
        if decision.ran is not (None if target is None else True):
            raise NotAnAnswer("it leaves open whether it ran")
    return decision


def problem_detail(body: bytes) -> str:
    """What a refusal without a decision says."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "no reason was given"
    return detail if isinstance(detail, str) else "no reason was given"


def _object(headers: Sequence[Tuple[str, str]], body: bytes) -> Mapping[str, Any]:
    types = [value for name, value in headers if name.lower() == "content-type"]
    if len(types) != 1 or types[0].split(";")[0].strip().lower() != _TYPE:
        raise NotAnAnswer("it is not JSON")
    try:
        members = json.loads(body.decode("utf-8"), object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        raise NotAnAnswer("its body has no single reading") from error
    if not isinstance(members, dict):
        raise NotAnAnswer("its body is not an object")
    return members


def _without_twins(pairs: Sequence[Tuple[str, Any]]) -> Mapping[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is there twice")
    return members


def _read(members: Mapping[str, Any]) -> Decision:
    def text(name: str) -> Optional[str]:
        value = members.get(name)
        if value is not None and not isinstance(value, str):
            raise NotAnAnswer(f"`{name}` is not a text")
        return value

    identity, status, tool_name = text("id"), text("status"), text("tool_name")
    if identity is None or not _ID.fullmatch(identity) or not status or tool_name is None:
        raise NotAnAnswer("it does not say what it is about")
    ran, result = members.get("ran"), members.get("result")
    if not (ran is None or isinstance(ran, bool)) or not (result is None or isinstance(result, dict)):
        raise NotAnAnswer("what it says of the run cannot be read")
    return Decision(
        decision=members["decision"],
        status=status,
        id=identity,
        tool_name=tool_name,
        thread_id=text("thread_id"),
        task_id=text("task_id"),
        message=text("message"),
        detail=text("detail"),
        review_url=text("review_url"),
        retry=text("retry"),
        ran=ran,
        result=result,
    )
