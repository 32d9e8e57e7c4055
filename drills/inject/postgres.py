"""PostgreSQL attempts: what the probe is told, and what a login, an error or silence shows.

Whatever a server says, "password authentication failed" and "too many connections" included, it was reached: a leak.
Only packets are denied, in silence, before there is a connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drills.inject.base import Attempt, Outcome, OutcomeKind, failure_name, series_config, void
from drills.inject.connecting import CONNECTED, expects_no_connection, not_connected
from drills.playbook import Denied, PostgresInjection

SELECTED, LOGGED_IN, SERVER_ERROR = "selected", "logged-in", "server-error"
MOST_CONCURRENT = 400  # each has two descriptors in the probe, and a process in the server


class Password(str):
    """A text that does not show in logs, tracebacks and journals; JSON for the probe's input has it all the same."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'...'"


def probe_config(
    name: str,
    injection: PostgresInjection,
    *,
    scale: float,
    addresses: Sequence[str] = (),
    password: str | None = None,
) -> dict[str, Any]:
    """The first line of the probe's input, the only place that a password goes to: never write this down."""
    return series_config(name, injection, scale=scale, host=injection.host, addresses=addresses) | {
        "user": injection.user,
        "database": injection.database,
        "password": Password(password or ""),
    }


@dataclass(frozen=True, slots=True)
class PostgresJudge:
    """Judges attempts by what the playbook expects. An empty ``denied`` means silence that evidence will prove."""

    injection: PostgresInjection
    denied: tuple[Denied, ...] = ()
    backends: bool = True  # whether a pod stands behind the address: then a refused connection came from it

    def attack(self, attempt: Attempt) -> Outcome:
        """Of an attempt that should be denied."""
        if (said := _said(attempt)) is not None:
            return Outcome(OutcomeKind.LEAKED, said)
        if attempt.connected and expects_no_connection(self.denied):
            return Outcome(OutcomeKind.LEAKED, CONNECTED)
        if (nothing := void(attempt, self.injection.timeout)) is not None:
            return nothing
        if attempt.connected:
            reached = OutcomeKind.POSSIBLY_REACHED if attempt.sent else OutcomeKind.BROKEN
            return Outcome(reached, failure_name(attempt))
        return not_connected(attempt, self.denied, backends=self.backends)

    def control(self, attempt: Attempt) -> Outcome:
        """Of an authorised attempt: it logs in and selects."""
        if _said(attempt) == SELECTED:
            return Outcome(OutcomeKind.SUCCEEDED, SELECTED)
        if (nothing := void(attempt, self.injection.timeout)) is not None:
            return nothing
        return Outcome(OutcomeKind.BROKEN, failure_name(attempt))


def _said(attempt: Attempt) -> str | None:
    """What the server said, if it said anything."""
    if attempt.error == SERVER_ERROR:
        return SERVER_ERROR
    if attempt.phase == "query":
        return SELECTED if attempt.error is None else LOGGED_IN
    return None
