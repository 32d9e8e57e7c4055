"""Attempts as the probe would report them."""

from __future__ import annotations

from typing import Any

from drills.inject.base import Attempt


def attempt(phase: str, error: str | None = None, **fields: Any) -> Attempt:
    """One that ended in a phase, with an error or without."""
    base: dict[str, Any] = {"i": 0, "at": 1.0, "lag": 0.0, "address": "10.0.0.1", "port": 443}
    base |= {"local_address": "10.0.0.2", "local_port": 40000, "sent": phase in ("login", "query")}
    return Attempt(**{**base, "phase": phase, "error": error, **fields})
