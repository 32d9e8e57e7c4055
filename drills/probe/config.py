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
    timeout: float  # of one attempt, from connect to the end of the answer; of a lookup, too, where it makes one
    kind: str = "http"
    id: str = ""
    tls: bool = False
    method: str = "GET"
    target: str = "/"  # path and query, sent as they are
    authority: str = ""  # of the Host header; the host where it is empty
    headers: Mapping[str, str] = {}
    body: str = ""
    addresses: tuple[str, ...] = ()  # to go round instead of what the host resolves to, which it still must
    concurrency: int = MAX_CONCURRENT
    qtype: str = "A"  # of a lookup
    nameserver: str = ""  # the pod's own where it is empty
    nameserver_port: int = 53
    user: str = ""
    database: str = ""
    password: str = ""

    @staticmethod
    def read(line: str) -> Config:
        """ValueError, KeyError or TypeError where the line is not a configuration."""
        given = dict(json.loads(line))
        addresses = tuple(given.pop("addresses", ()))
        config = Config(attempts=given.pop("count"), addresses=addresses, **given)
        if not (config.rate > 0 and config.attempts >= 0 and config.timeout > 0 and config.concurrency > 0):
            raise ValueError("rate, timeout and concurrency are more than zero, count is not negative")
        return config
