"""Why something did not run."""

from __future__ import annotations

from typing import Optional

from ._decision import Decision


class NotAllowed(Exception):
    """It must not run, and did not. The text is for people and models."""

    def __init__(self, text: str, decision: Optional[Decision] = None) -> None:
        super().__init__(text)
        #: What the bridge said; ``None`` where it said nothing that could be used.
        self.decision = decision


class Rejected(NotAllowed):
    """Somebody, or a rule, said no."""

    decision: Decision

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.text(), decision)


class Pending(NotAllowed):
    """Nobody has decided within ``wait``. The same question with the same key goes on where this one stopped."""

    decision: Decision

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.text(), decision)


class Unavailable(NotAllowed):
    """The bridge cannot be reached, is in trouble, or said something that is not an answer."""


class InvalidRequest(NotAllowed):
    """The bridge does not take this question: a wrong field, a wrong key, an id it does not know."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"The bridge refused the request ({status}): {detail}")
        #: The HTTP status.
        self.status = status
