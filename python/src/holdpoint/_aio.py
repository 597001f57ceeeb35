"""The same for asyncio: each call waits in a thread, so that nothing but the standard library is needed."""

from __future__ import annotations

import asyncio
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Mapping, Optional, TypeVar

from ._client import Client, Question, Stop
from ._decision import Decision

#: Calls that wait at once; further ones queue. Asyncio's own pool is too small for calls that wait for people.
WAITING_MAX = 256

_T = TypeVar("_T")


class AsyncClient:
    """A :class:`Client` for asyncio, with the same methods. A call that is cancelled withdraws its question."""

    def __init__(
        self,
        url: Optional[str] = None,
        key: Optional[str] = None,
        *,
        retry_for: float = 30.0,
        client: Optional[Client] = None,
    ) -> None:
        self.client = client or Client(url, key, retry_for=retry_for)
        self._threads = ThreadPoolExecutor(WAITING_MAX, thread_name_prefix="holdpoint")

    async def decide(
        self,
        tool_name: str,
        payload: Optional[Mapping[str, Any]] = None,
        *,
        key: Optional[str] = None,
        wait: float = 300.0,
        **words: Any,
    ) -> Decision:
        """As :meth:`Client.decide`."""
        body = {**words, "tool_name": tool_name, "payload": dict(payload or {})}
        question = Question(body, key or str(uuid.uuid4()))
        return await self._until_done(question, lambda stop: self.client._ask(question, wait, stop))

    async def withdraw(self, operation: str) -> Decision:
        """As :meth:`Client.withdraw`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.client.withdraw, operation)

    async def claim(self, operation: str, claimant: str) -> Decision:
        """As :meth:`Client.claim`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.client.claim, operation, claimant)

    async def _permit(self, question: Question, wait: float) -> Decision:
        return await self._until_done(question, lambda stop: self.client._permit(question, wait, stop))

    async def _abandon(self, question: Question) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self.client._abandon, question)

    async def _until_done(self, question: Question, call: Callable[[Stop], _T]) -> _T:
        stop = Stop()
        waiting = self._threads.submit(call, stop)
        try:
            return await asyncio.wrap_future(waiting)
        except asyncio.CancelledError:
            stop.set()
            # Cancelling must not wait for the network.
            threading.Thread(target=self._take_back, args=(waiting, question), name="holdpoint-withdraw").start()
            raise

    def _take_back(self, waiting: Any, question: Question) -> None:
        never_began = waiting.cancelled()
        if not never_began:
            waiting.exception()
            self.client._abandon(question)
