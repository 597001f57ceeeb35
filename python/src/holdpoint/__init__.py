"""Ask Holdpoint before a function or an agent's tool runs.

The rule of this package: a function runs when the bridge said ``allow`` in its status, in its header and in its body, about
this very question, and never otherwise. Whatever else happens raises a :class:`NotAllowed`.
"""

from ._aio import AsyncClient
from ._client import Client
from ._decision import Decision
from ._errors import InvalidRequest, NotAllowed, Pending, Rejected, Unavailable
from ._frozen import NotJson
from ._gated import gated

__all__ = [
    "AsyncClient",
    "Client",
    "Decision",
    "InvalidRequest",
    "NotAllowed",
    "NotJson",
    "Pending",
    "Rejected",
    "Unavailable",
    "gated",
]
