"""TCP attempts: what the probe is told, and what a connection or its absence shows.

Packets that policy denies are dropped in silence, so a denial is a timeout in the phase ``connect``. A connection that
stands is a leak, and so is the reset of a pod.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drills.inject.base import Attempt, Outcome, OutcomeKind, failure_name, series_config, void
from drills.inject.connecting import CONNECTED, not_connected
from drills.playbook import Denied, TcpInjection


def probe_config(name: str, injection: TcpInjection, *, scale: float, addresses: Sequence[str] = ()) -> dict[str, Any]:
    """The first line of the probe's input. ``addresses``: to spread over backends that somebody else resolved."""
    return series_config(name, injection, scale=scale, host=injection.host, addresses=addresses)


@dataclass(frozen=True, slots=True)
class TcpJudge:
    """Judges attempts by what the playbook expects. An empty ``denied`` means silence that evidence will prove."""

    injection: TcpInjection
    denied: tuple[Denied, ...] = ()
    backends: bool = True  # whether a pod stands behind the address: then a refused connection came from it

    def attack(self, attempt: Attempt) -> Outcome:
        """Of an attempt that should be denied."""
        if attempt.connected:
            return Outcome(OutcomeKind.LEAKED, CONNECTED)
        if (nothing := void(attempt, self.injection.timeout)) is not None:
            return nothing
        return not_connected(attempt, self.denied, backends=self.backends)

    def control(self, attempt: Attempt) -> Outcome:
        """Of an authorised attempt: a connection that stands."""
        if attempt.connected:
            return Outcome(OutcomeKind.SUCCEEDED, CONNECTED)
        if (nothing := void(attempt, self.injection.timeout)) is not None:
            return nothing
        return Outcome(OutcomeKind.BROKEN, failure_name(attempt))
