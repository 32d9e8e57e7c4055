"""What every injection shares: the record of an attempt, the kinds of outcome, the pace on a clock that may run faster.

An outcome is what one attempt alone can show. Whether a drill was held is decided later, beside counters, flows and the
control: a *denied* by timeout proves nothing without them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from drills.playbook import ProbeInjection

SLACK = 5.0  # seconds of the wall clock that a probe may take beyond its plan
MOST_CONCURRENT = 1000  # below the usual limit of open files
SLOW = "-slow"  # ends the outcome of an answer that came too late
SHORTEST_FAULT_SECONDS = 15.0  # of the wall clock that a WireGuard fault lasts: its own timers are not scaled
STARVED = 0.25  # of the timeout: an attempt that started later than this, and timed out, was never really made


class OutcomeKind(StrEnum):
    """What an attempt shows of the policy."""

    DENIED = "denied"  # as the drill expects it, recognised by its maker
    SUCCEEDED = "succeeded"  # the expected answer; of a control only
    LEAKED = "leaked"  # something behind the policy answered
    POSSIBLY_REACHED = "possibly-reached"  # it failed after the request was sent
    BROKEN = "broken"  # it failed in a way that proves nothing
    VOID = "void"  # it was not really made: the probe was starved, or stopped


@dataclass(frozen=True, slots=True)
class Outcome:
    """A kind, and the name under which result.json counts it, such as ``http-403``."""

    kind: OutcomeKind
    name: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of the probe (``drills.probe`` tells what the fields mean). Seconds of the wall clock."""

    i: int
    at: float
    lag: float
    address: str | None
    port: int
    local_address: str | None
    local_port: int | None
    phase: str
    error: str | None
    detail: str = ""
    sent: bool = False
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    redirected: str = ""  # the plain path that a proxy named for one with escaped slashes, and that was asked for then
    seconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Attempt:
        """From the probe's JSON. KeyError if it is no attempt; fields of a later probe are left out."""
        renamed = {"localAddress": "local_address", "localPort": "local_port"}
        known = {renamed.get(key, key): value for key, value in data.items()}
        return cls(**{name: known[name] for name in cls.__dataclass_fields__ if name in known or name in _REQUIRED})

    @property
    def connected(self) -> bool:
        """Whether the TCP connection stood."""
        return self.phase not in ("resolve", "connect")

    @property
    def answered(self) -> bool:
        """Whether a proxy can have said it: an HTTP status, or the code REFUSED of a DNS server. Silence and resets are
        nobody's word, and NXDOMAIN is any server's word for a name that does not exist.
        """
        return self.status is not None or (self.phase == "resolve" and self.error == "refused")

    @property
    def latency(self) -> float:
        """Seconds from the start of the connection to the end of the answer."""
        return sum(self.seconds.values())


_REQUIRED = ("i", "at", "lag", "address", "port", "local_address", "local_port", "phase", "error")


@dataclass(frozen=True, slots=True)
class Pace:
    """How a series runs on the wall clock, on a target whose clock runs ``scale`` times faster than the playbook's."""

    rate: float  # attempts per second of the wall clock
    attempts: int
    seconds: float  # from the first attempt to the start of the last one

    @classmethod
    def of(cls, injection: ProbeInjection, scale: float) -> Pace:
        """The same number of attempts in 1/scale of the time. Timeouts are not scaled: kernels are not."""
        return cls(injection.rate * scale, injection.attempts, injection.duration / scale)

    def deadline(self, timeout: float) -> float:
        """Seconds after the start at which a probe ends whatever happens."""
        return math.ceil(self.seconds + timeout + SLACK)

    def concurrency(self, timeout: float) -> int:
        """Attempts under way at once if every one of them runs into its timeout, and some to spare."""
        return min(MOST_CONCURRENT, max(16, math.ceil(self.rate * timeout * 1.25)))


def series_config(
    name: str,
    injection: ProbeInjection,
    *,
    scale: float,
    host: str,
    addresses: Sequence[str] = (),
    longest: float | None = None,
) -> dict[str, Any]:
    """What the probe is told of a series of attempts of any kind; `kinds` add what is theirs.

    ``addresses``: to spread over backends that somebody else resolved. ``longest``: seconds that an attempt may take,
    where that is not its timeout.
    """
    pace = Pace.of(injection, scale)
    longest = injection.timeout if longest is None else longest
    return {
        "id": name,
        "kind": injection.kind,
        "host": host,
        "port": injection.port,
        "timeout": injection.timeout,
        "rate": pace.rate,
        "count": pace.attempts,
        "deadline": pace.deadline(longest),
        "concurrency": pace.concurrency(longest),
        "addresses": list(addresses),
    }


class Judge(Protocol):
    """What an attempt of one injection shows. Pure."""

    def attack(self, attempt: Attempt) -> Outcome:
        """Of an attempt that should be denied."""
        ...

    def control(self, attempt: Attempt) -> Outcome:
        """Of an authorised attempt."""
        ...


def void(attempt: Attempt, timeout: float) -> Outcome | None:
    """An attempt that was cut off, or timed out because the probe itself was late; None for any other."""
    if attempt.status is not None:
        return None
    if attempt.error in ("stopped", "deadline"):
        return Outcome(OutcomeKind.VOID, attempt.error)
    if attempt.error == "timeout" and attempt.lag > STARVED * timeout:
        return Outcome(OutcomeKind.VOID, "starved")
    return None


def in_time(outcome: Outcome, attempt: Attempt, limit: float | None) -> Outcome:
    """A control's success that came later than ``limit`` seconds is none; unless the probe itself was late."""
    if limit is None or outcome.kind is not OutcomeKind.SUCCEEDED or attempt.latency <= limit:
        return outcome
    if attempt.lag > STARVED * limit:
        return Outcome(OutcomeKind.VOID, "starved")
    return Outcome(OutcomeKind.BROKEN, outcome.name + SLOW)


def failure_name(attempt: Attempt) -> str:
    """``connect-timeout``, ``receive-reset``: the phase and what went wrong in it."""
    return f"{attempt.phase}-{attempt.error}"


def service_of(host: str) -> tuple[str, str] | None:
    """Namespace and name of the Service that a name inside the cluster means (``http-api.backend``,
    ``http-api.backend.svc``, ``….svc.cluster.local``); None for any other name and for an address.
    """
    name, _, rest = host.rstrip(".").partition(".")
    namespace, _, domain = rest.partition(".")
    if not namespace or namespace.isdigit() or domain not in ("", "svc", "svc.cluster.local"):
        return None
    return namespace, name
