"""What the probe is told: the first line of its standard input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

MAX_CONCURRENT = 512


class Config(NamedTuple):
    """One series of attempts. ``rate`` is attempts per second of this machine's clock."""

    host: str
    port: int
    rate: float
    attempts: int  # "count" in the line
    deadline: float  # seconds after the start at which everything ends
    timeout: float  # of one attempt, from connect to the end of the answer
    kind: str = "http"
    id: str = ""
    tls: bool = False
    method: str = "GET"
    target: str = "/"  # path and query, sent as they are
    authority: str = ""  # of the Host header; the host where it is empty
    headers: Mapping[str, str] = {}
    body: str = ""
    addresses: tuple[str, ...] = ()  # resolved by somebody else already
    concurrency: int = MAX_CONCURRENT

    @staticmethod
    def read(line: str) -> Config:
        """ValueError, KeyError or TypeError where the line is not a configuration."""
        given = dict(json.loads(line))
        addresses = tuple(given.pop("addresses", ()))
        config = Config(attempts=given.pop("count"), addresses=addresses, **given)
        if not (config.rate > 0 and config.attempts >= 0 and config.timeout > 0 and config.concurrency > 0):
            raise ValueError("rate, timeout and concurrency are more than zero, count is not negative")
        return config
