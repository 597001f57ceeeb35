"""Arguments as one JSON text: what is asked about is what runs."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

#: As deep as the bridge reads.
DEPTH_MAX = 64


class NotJson(TypeError):
    """A value that has no one reading as JSON, so that nobody could approve it."""


def freeze(value: Any, where: str) -> str:
    """The value as JSON text, once and for all. ``where`` names it in the error."""
    _check(value, where, 0)
    return json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))


def thaw(text: str) -> Any:
    """A fresh copy of what was frozen."""
    return json.loads(text)


def digest(*texts: str) -> str:
    """One short name for several texts."""
    return hashlib.sha256(json.dumps(texts, ensure_ascii=True).encode("ascii")).hexdigest()


def _check(value: Any, where: str, depth: int) -> None:
    # The exact types: a subclass can write one thing and do another.
    kind = type(value)
    if depth > DEPTH_MAX:
        raise NotJson(f"`{where}` is nested more than {DEPTH_MAX} deep")
    if value is None or kind is bool or kind is int:
        return
    if kind is float:
        if not math.isfinite(value):
            raise NotJson(f"`{where}` is {value!r}, which JSON does not have")
    elif kind is str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise NotJson(f"`{where}` is not a text in Unicode") from None
    elif kind is list:
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]", depth + 1)
    elif kind is dict:
        for name, item in value.items():
            if type(name) is not str:
                raise NotJson(f"`{where}` has a key that is not a text: {name!r}")
            _check(name, where, depth + 1)
            _check(item, f"{where}.{name}", depth + 1)
    else:
        raise NotJson(
            f"`{where}` is a {kind.__module__}.{kind.__qualname__}, which is not JSON; "
            "pass plain values, or name it in `context` if it is not part of what is approved"
        )
