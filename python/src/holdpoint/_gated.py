"""``@gated``: a function that runs when it is allowed to."""

from __future__ import annotations

import functools
import inspect
import uuid
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, TypeVar, Union, cast

from ._aio import AsyncClient
from ._client import Client, Question, Stop
from ._errors import NotAllowed, Pending
from ._frozen import NotJson, digest, freeze, thaw

#: Characters of a value within a subject.
_SHOWN_MAX = 200

Subject = Union[str, Callable[[Mapping[str, Any]], str]]
Payload = Callable[[Mapping[str, Any]], Mapping[str, Any]]
_F = TypeVar("_F", bound=Callable[..., Any])


class Plan:
    """How a question is made of frozen arguments."""

    def __init__(
        self,
        tool_name: str,
        subject: Optional[Subject],
        payload: Optional[Payload] = None,
        words: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self.tool_name, self._subject, self._payload, self._words = tool_name, subject, payload, dict(words or {})

    def question(self, frozen: str, task_id: Optional[str], call_id: Optional[str]) -> Question:
        """The question about these arguments. The same call with the same arguments is the same question; without a
        ``call_id`` each is another.
        """
        payload = thaw(frozen) if self._payload is None else dict(self._payload(thaw(frozen)))
        body = {
            **self._words,
            "tool_name": self.tool_name,
            "payload": payload,
            "subject": self._line(thaw(frozen)),
            "task_id": task_id,
        }
        if call_id is None:
            return Question(body, str(uuid.uuid4()))
        # With the arguments: a `payload` of one's own may not show all of them.
        name = digest(task_id or "", call_id, self.tool_name, frozen)
        return Question(body, f"py-{name}")

    def _line(self, arguments: Mapping[str, Any]) -> Optional[str]:
        if self._subject is None:
            return None
        if callable(self._subject):
            return self._subject(arguments)
        return self._subject.format_map({name: _shown(value) for name, value in arguments.items()})


def task_name(text: str) -> str:
    """A job's name that the bridge takes, for any name of a framework's."""
    is_usable = 0 < len(text.encode("utf-8", "replace")) <= 256 and text not in (".", "..") and text.isprintable()
    return text if is_usable else f"task-{digest(text)}"


def _shown(value: Any) -> str:
    """One line of it: an argument must not be able to write a line of its own under the reviewer's eyes."""
    text = value if isinstance(value, str) else freeze(value, "value")
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"


def permit(client: Client, question: Question, wait: float, keeps: bool) -> None:
    """Returns when the call may run, once. ``keeps``: somebody can come back with the same question."""
    try:
        client._permit(question, wait, Stop())
    except Pending:
        if not keeps:
            client._abandon(question)
        raise
    except KeyboardInterrupt:
        client._abandon(question)
        raise


async def permit_async(client: AsyncClient, question: Question, wait: float, keeps: bool) -> None:
    """The same for asyncio."""
    try:
        await client._permit(question, wait)
    except Pending:
        if not keeps:
            await client._abandon(question)
        raise


def both(client: Union[Client, AsyncClient]) -> "tuple[Client, AsyncClient]":
    """The client for threads and the one for asyncio, of either."""
    if isinstance(client, AsyncClient):
        return client.client, client
    return client, AsyncClient(client=client)


def gated(
    client: Union[Client, AsyncClient],
    *,
    subject: Optional[Subject] = None,
    tool_name: Optional[str] = None,
    payload: Optional[Payload] = None,
    task_id: Union[str, Callable[[Mapping[str, Any]], str], None] = None,
    call_id: Optional[Callable[[Mapping[str, Any]], str]] = None,
    context: Sequence[str] = (),
    wait: float = 300.0,
    on_refusal: Optional[Callable[[NotAllowed], Any]] = None,
    workflow_name: Optional[str] = None,
    risk_level: Optional[str] = None,
) -> Callable[[_F], _F]:
    """Makes a function run only when the bridge allows it, once for each yes.

    The arguments are frozen as JSON before anybody is asked, and the function gets a copy made of that JSON: whatever
    happens to the caller's objects while a person reads, what was approved is what runs.

    :param subject: one line for the reviewer: a format string with the parameters' names, or a callable of the frozen
        arguments. ``None``: the operator's entry for the tool says it.
    :param tool_name: as rules know it; else the function's name.
    :param payload: makes what rules and reviewers see of the frozen arguments; else all of them.
    :param task_id: the job, or a callable of the frozen arguments; else a job of its own for each call.
    :param call_id: a callable of the frozen arguments that names the call: the same name with the same arguments is the
        same question, and runs once. Without it each call is a new question.
    :param context: parameters that are not part of what is approved (a connection, a logger) and are passed on as they
        are. ``self`` and ``cls`` as first parameter are such.
    :param wait: seconds to wait for a person.
    :param on_refusal: is called with the :class:`NotAllowed` instead of raising it, and its value is returned.
    :raises NotJson: an argument has no one reading as JSON. Nobody was asked.
    """
    sync_client, async_client = both(client)
    words = {"workflow_name": workflow_name, "risk_level": risk_level}

    def decorate(function: _F) -> _F:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError("a generator runs after its call returned: gate what consumes it")
        name = tool_name or function.__name__
        plan = Plan(name, subject, payload, words)
        signature = inspect.signature(function)
        free = _free(signature, context)

        def prepared(args: Any, kwargs: Any) -> "tuple[inspect.BoundArguments, Question]":
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            plain = {
                parameter: list(value) if signature.parameters[parameter].kind is _VARIADIC else value
                for parameter, value in bound.arguments.items()
                if parameter not in free
            }
            frozen = freeze(plain, name)
            _put(bound, thaw(frozen))
            task = task_id(thaw(frozen)) if callable(task_id) else task_id
            return bound, plan.question(frozen, task, None if call_id is None else call_id(thaw(frozen)))

        keeps = call_id is not None

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                bound, question = prepared(args, kwargs)
                try:
                    await permit_async(async_client, question, wait, keeps)
                except NotAllowed as refusal:
                    return _refuse(refusal, on_refusal)
                return await function(*bound.args, **bound.kwargs)

            return cast(_F, run_async)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            bound, question = prepared(args, kwargs)
            try:
                permit(sync_client, question, wait, keeps)
            except NotAllowed as refusal:
                return _refuse(refusal, on_refusal)
            return function(*bound.args, **bound.kwargs)

        return cast(_F, run)

    return decorate


_VARIADIC = inspect.Parameter.VAR_POSITIONAL


def _free(signature: inspect.Signature, context: Sequence[str]) -> "frozenset[str]":
    names = list(signature.parameters)
    unknown = [name for name in context if name not in names]
    if unknown:
        raise TypeError(f"`context` names parameters that the function does not have: {', '.join(unknown)}")
    return frozenset(context) | frozenset(name for name in names[:1] if name in ("self", "cls"))


def _put(bound: inspect.BoundArguments, copies: Dict[str, Any]) -> None:
    for parameter, value in copies.items():
        is_variadic = bound.signature.parameters[parameter].kind is _VARIADIC
        bound.arguments[parameter] = tuple(value) if is_variadic else value


def _refuse(refusal: NotAllowed, on_refusal: Optional[Callable[[NotAllowed], Any]]) -> Any:
    if on_refusal is None:
        raise refusal
    return on_refusal(refusal)


__all__ = ["NotJson", "Plan", "Subject", "Payload", "both", "gated", "permit", "permit_async", "task_name"]
