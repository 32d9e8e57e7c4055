"""What a program of a flood is told: the first line of its standard input."""

from __future__ import annotations

import json
from typing import Literal, NamedTuple


class Config(NamedTuple):
    """Rates and times are those of this machine's clock."""

    id: str
    role: Literal["master", "worker"]
    host: str  # Locust's: scheme, name and port
    path: str  # for a locustfile that asks for it
    locustfile: str  # its text
    name: str  # the file's, for messages
    users: int  # of all workers
    workers: int
    number: int  # of this worker, from 0
    rate: float  # requests a second, of this worker; of the master, of all
    fastest: float  # likewise: what it may reach while it makes up for a pause
    requests: int  # at most, likewise
    seconds: float  # from the moment at which all users are there
    deadline: float  # seconds after the start at which everything ends

    @staticmethod
    def read(line: str) -> Config:
        """ValueError, KeyError or TypeError where the line is not a configuration."""
        config = Config(**json.loads(line))
        if not (config.rate > 0 and config.users > 0 and config.workers > 0 and config.seconds > 0):
            raise ValueError("rate, users, workers and seconds are more than zero")
        return config
