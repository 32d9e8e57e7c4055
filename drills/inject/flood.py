"""A flood: what its programs in the pods are told, how their numbers are read, and whether it was one. Pure.

The request rate is the playbook's on the target's clock, shared out evenly over the workers; `drills.flood` holds each
of them to its share. What they report is held against the guard's limit here, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from drills.inject.base import service_of
from drills.playbook import FloodInjection

COMMAND: Final = ("python", "-m", "drills.flood")
SHIPPED: Final = Path(__file__).parents[1] / "flood" / "locustfile.py"
ENOUGH: Final = 0.9  # of the rate: a lesser flood proves nothing
MAKING_UP: Final = 1.25  # times the rate, after a pause
START_SECONDS: Final = 15.0  # on the wall, that Locust may take to bring all users up
EXCESS_SECONDS: Final = 1.0  # on the wall: how much of a limit may come at once, since reports come twice a second


@dataclass(frozen=True, slots=True)
class Locustfile:
    """A locustfile's text, and its name for messages."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A flood on the wall's clock, of all workers: ``rate`` in requests a second on average, ``fastest`` what it may
    reach while it makes up for a pause, ``requests`` how many at most.
    """

    host: str
    path: str
    users: int
    workers: int
    rate: float
    fastest: float
    requests: int
    seconds: float
    locustfile: Locustfile

    @classmethod
    def of(cls, injection: FloodInjection, scale: float, locustfile: Locustfile, allowed: float) -> Plan:
        """The same requests in 1/scale of the time; ``allowed``: the most that the guard leaves, in playbook time."""
        parts = urlsplit(injection.url)
        return cls(
            host=f"{parts.scheme}://{parts.netloc}",
            path=injection.url.partition("://")[2][len(parts.netloc) :] or "/",
            users=injection.users,
            workers=injection.workers,
            rate=injection.rate * scale,
            fastest=max(injection.rate, min(MAKING_UP * injection.rate, allowed)) * scale,
            requests=injection.attempts,
            seconds=injection.duration / scale,
            locustfile=locustfile,
        )

    def master(self, name: str, lifetime: float) -> dict[str, Any]:
        """The first line of the master's input; ``lifetime`` in wall seconds from now, at most."""
        own = {"role": "master", "number": 0, "rate": self.rate, "fastest": self.fastest, "requests": self.requests}
        return own | self._rest(name, lifetime)

    def worker(self, name: str, number: int, lifetime: float) -> dict[str, Any]:
        """The first line of a worker's; ``number`` counts from 0."""
        share, rest = divmod(self.requests, self.workers)
        own = {
            "role": "worker",
            "number": number,
            "rate": self.rate / self.workers,
            "fastest": self.fastest / self.workers,
            "requests": share + (number < rest),
        }
        return own | self._rest(name, lifetime)

    def _rest(self, name: str, lifetime: float) -> dict[str, Any]:
        return {
            "id": name,
            "host": self.host,
            "path": self.path,
            "locustfile": self.locustfile.text,
            "name": self.locustfile.name,
            "users": self.users,
            "workers": self.workers,
            "seconds": self.seconds,
            "deadline": lifetime,
        }


def host_of(injection: FloodInjection) -> str:
    """The name or address that the flood goes to."""
    return urlsplit(injection.url).hostname or ""


def service(injection: FloodInjection) -> tuple[str, str] | None:
    """Namespace and name of the Service that may stand behind it."""
    return service_of(host_of(injection))


@dataclass(frozen=True, slots=True)
class Numbers:
    """What Locust counted so far; instants are Unix times of the master's clock, ``milliseconds`` the wall's.

    ``turns`` are the requests that the limiter let through, ``answered`` those of ``requests`` that got an answer.
    """

    began: float
    at: float
    requests: int = 0
    failures: int = 0
    turns: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    milliseconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Numbers:
        """From a program's message. KeyError if it is none."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        return cls(**{"began": data["began"], "at": data["at"], **known})

    @property
    def answered(self) -> int:
        """Requests that got an answer, whatever it says."""
        return sum(count for name, count in self.statuses.items() if name == "ok" or name.startswith("http-"))

    def rate(self, scale: float) -> float:
        """Answered requests a second of the playbook's clock."""
        return self.answered / max(self.at - self.began, 1e-3) / scale


def shortfall(numbers: Numbers, asked: float, scale: float) -> str | None:
    """Why a flood was none, in words; None if it reached its rate. ``asked`` in the playbook's requests a second."""
    reached = numbers.rate(scale)
    if reached >= ENOUGH * asked:
        return None
    unanswered = numbers.requests - numbers.answered
    also = f", and {unanswered} of {numbers.requests} requests got no answer" if unanswered else ""
    return f"the flood reached only {reached:.1f} of {asked:g} requests a second{also}"


class RateWatch:
    """Whether a limit is exceeded, from cumulative counts: what is above the limit adds up, what is below wears off."""

    def __init__(self, limit: float, users: int) -> None:
        """``limit`` in requests a second of the wall; each user may have one more under way."""
        self._limit = limit
        self._room = limit * EXCESS_SECONDS + users
        self._level = 0.0
        self._last: tuple[float, int] | None = None

    def exceeded(self, numbers: Numbers) -> bool:
        """Take the newest numbers; whether the limit has been exceeded."""
        made = max(numbers.requests, numbers.turns)
        at, before = self._last or (numbers.began, 0)
        self._level = max(0.0, self._level + (made - before) - self._limit * max(0.0, numbers.at - at))
        self._last = (numbers.at, made)
        return self._level > self._room
