"""How an HTTP API is reached: an address, who asks, and whom to trust. Data only, for whoever sends the requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

Headers = Mapping[str, str]


def _nobody() -> Headers:
    return {}


@dataclass(frozen=True, slots=True)
class Reach:
    """Where requests go. ``name`` is what sentences call it, ``headers`` says who asks, anew for each request.

    ``authority``: a file of certificates to trust instead of the system's; ``certificate``: the client's own, with its
    key; ``server_name``: whom the server's certificate must name, where that is not the address; ``proxy``: its URL,
    the environment's where ``environment`` is true.
    """

    url: str
    name: str
    headers: Callable[[], Headers] = field(default=_nobody, repr=False)
    authority: str | None = None
    verify: bool = True
    certificate: tuple[str, str] | None = None
    server_name: str | None = None
    proxy: str | None = None
    environment: bool = True

    @classmethod
    def plainly(cls, url: str) -> Self:
        """Without credentials."""
        return cls(url.rstrip("/"), url.rstrip("/"))
