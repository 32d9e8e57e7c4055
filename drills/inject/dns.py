"""DNS attempts: what the probe is told, and what a lookup, and the connection after it, show.

Cilium's DNS proxy denies a lookup by REFUSED (or NXDOMAIN where it is set so: ``tofqdns-dns-reject-response-code``).
So may the resolver itself: only the proxy's counter and flow tell them apart. A name that policy lets be looked up, but
whose address it does not admit, is denied by silence in the phase ``connect``.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from drills.inject.base import Attempt, Outcome, OutcomeKind, failure_name, series_config, void
from drills.inject.connecting import CONNECTED, not_connected
from drills.playbook import Denied, DnsInjection

SHARED_ADDRESS = "shared-address"
ANSWERED = "dns-answered"
DENYING = ("refused", "nxdomain")
SAID = (*DENYING, "servfail", "no-address")  # by a server, in the phase resolve; their names begin with dns-


def is_address(name: str) -> bool:
    """Whether there is nothing to look up."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def absolute(name: str) -> str:
    """The name as it is looked up, with its final dot: no search list is tried."""
    return name.rstrip(".") + "."


def probe_config(name: str, injection: DnsInjection, *, scale: float) -> dict[str, Any]:
    """The first line of the probe's input. Lookup and connection have the timeout to themselves, each."""
    address = is_address(injection.name)
    return series_config(
        name,
        injection,
        scale=scale,
        host=injection.name if address else absolute(injection.name),
        addresses=[injection.name] if address else [],
        longest=injection.timeout * (1 if address else 2),
    ) | {"qtype": "A"}


def answers(attempt: Attempt) -> frozenset[str]:
    """The addresses that an attempt's lookup was answered with."""
    return frozenset(attempt.body.split())


@dataclass(frozen=True, slots=True)
class DnsJudge:
    """Judges attempts by what the playbook expects. An empty ``denied`` means any denial that evidence will prove.

    ``shared``: addresses that policy admits under another name; a connection to one of them proves nothing, for the
    datapath knows addresses, not names.
    """

    injection: DnsInjection
    denied: tuple[Denied, ...] = ()
    shared: frozenset[str] = frozenset()

    def attack(self, attempt: Attempt) -> Outcome:
        """Of an attempt that should be denied."""
        if self._answer_is_leak() and self._answered(attempt):
            return Outcome(OutcomeKind.LEAKED, ANSWERED)
        if attempt.connected:
            return self._connected(attempt)
        if (nothing := void(attempt, self.injection.timeout)) is not None:
            return nothing
        if attempt.phase == "resolve":
            return self._not_resolved(attempt)
        if attempt.error == "refused" and attempt.address in self.shared:
            return Outcome(OutcomeKind.BROKEN, SHARED_ADDRESS)
        return not_connected(attempt, self.denied, backends=True)

    def control(self, attempt: Attempt) -> Outcome:
        """Of an allowed name: it resolves, and a connection to its address stands."""
        if attempt.connected:
            return Outcome(OutcomeKind.SUCCEEDED, CONNECTED)
        if (nothing := void(attempt, self.injection.timeout)) is not None:
            return nothing
        return Outcome(OutcomeKind.BROKEN, _name(attempt))

    def _answer_is_leak(self) -> bool:
        return bool(self.denied) and all(one.dns is not None for one in self.denied)

    def _answered(self, attempt: Attempt) -> bool:
        """Whether the lookup passed the policy: an answer, if only that the name has no address of the kind."""
        if is_address(self.injection.name):
            return attempt.connected
        return attempt.phase != "resolve" or attempt.error in ("no-address", "truncated")

    def _connected(self, attempt: Attempt) -> Outcome:
        if attempt.address in self.shared and not is_address(self.injection.name):
            return Outcome(OutcomeKind.BROKEN, SHARED_ADDRESS)
        return Outcome(OutcomeKind.LEAKED, CONNECTED)

    def _not_resolved(self, attempt: Attempt) -> Outcome:
        named = {one.dns for one in self.denied if one.dns is not None} if self.denied else set(DENYING)
        denied = attempt.error in DENYING and attempt.error in named
        return Outcome(OutcomeKind.DENIED if denied else OutcomeKind.BROKEN, _name(attempt))


def _name(attempt: Attempt) -> str:
    if attempt.phase == "resolve" and attempt.error in SAID:
        return f"dns-{attempt.error}"
    return failure_name(attempt)
