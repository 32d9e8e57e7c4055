"""The path that a fault is to close: the control of the drill, tried all the time from one node to another."""

from __future__ import annotations

import time
from typing import Any

from drills.engine.actors import Actors
from drills.engine.attempts import Classified, Probe
from drills.engine.target import Target
from drills.errors import WorldError
from drills.inject.base import OutcomeKind
from drills.inject.kinds import kind_of
from drills.inject.wireguard import Missing
from drills.playbook import Control

FASTEST = 10.0  # attempts per second of the wall clock: a fault lasts longer on it than the time-lapse says
MOMENTS = 4  # attempts in a row that show that it is open
ENOUGH_SECONDS = 10.0  # to wait for them, on the wall, at any but the slowest rate


class Path:
    """Between a pod and those behind a Service that are beyond ``node`` or on it, so that every attempt crosses."""

    def __init__(self, name: str, control: Control, node: str, target: Target, actors: Actors) -> None:
        self._name, self._control, self._node = name, control, node
        self._target, self._actors = target, actors
        self._kind = kind_of(control)
        self._probe: Probe | None = None
        self.rate = min(control.rate * target.time_lapse, max(FASTEST, control.rate))

    @property
    def error(self) -> str | None:
        """Why the probe ended before it should."""
        return None if self._probe is None else self._probe.error

    @property
    def probe(self) -> Probe:
        """The one that runs."""
        assert self._probe is not None
        return self._probe

    def once(self) -> Probe:
        """One attempt, made and over. WorldError where no attempt can cross."""
        probe = self._made({"count": 1, "deadline": self._control.timeout + 1})
        probe.ready()
        probe.go()
        probe.wait(self._control.timeout + 2)
        probe.close()
        return probe

    def start(self, seconds: float) -> None:
        """Try until `close`, or for so long."""
        count = round(self.rate * seconds)
        concurrency = max(16, round(self.rate * self._control.timeout * 1.25))
        self._probe = self._made(
            {"rate": self.rate, "count": count, "deadline": seconds + self._control.timeout, "concurrency": concurrency}
        )
        self._probe.ready()
        self._probe.go()

    def close(self) -> None:
        """End it."""
        if self._probe is not None:
            self._probe.close()

    def attempts(self, since: float = 0.0, until: float = float("inf")) -> list[Classified]:
        """Those that began after ``since`` and had to end before ``until`` (Unix times)."""
        if self._probe is None:
            return []
        last = until - self._control.timeout if until != float("inf") else until
        return [one for one in self._probe.attempts() if since <= one.attempt.at <= last]

    def over_before(self, until: float) -> list[Classified]:
        """Those that began before a moment, and were over by then."""
        return [one for one in self.attempts() if one.attempt.at + one.attempt.latency < until]

    def opened(self, since: float) -> float | None:
        """When the path was open for good, as far as is known: the first of the successes that came in a row last."""
        made = [one for one in self.attempts(since) if one.outcome.kind is not OutcomeKind.VOID]
        row: list[Classified] = []
        for one in reversed(made):
            if one.outcome.kind is not OutcomeKind.SUCCEEDED:
                break
            row.append(one)
        return row[-1].attempt.at if len(row) >= MOMENTS else None

    def missing(self, since: float) -> Missing:
        """What it is short of to be open again."""
        if self.opened(since) is not None:
            return Missing()
        if self.error is not None or not self.attempts(since):
            return Missing(unknown=(f"whether the path is open again is not known: {self.error or 'nobody tried'}",))
        return Missing(lacking=("the path is not open again",))

    @property
    def patience(self) -> float:
        """Wall seconds in which an open path shows that it is."""
        return max(ENOUGH_SECONDS, 2 * MOMENTS / self.rate)

    def _made(self, more: dict[str, Any]) -> Probe:
        actor = self._actors.of(self._control.source)
        secret = self._kind.secret
        password = None if secret is None else self._target.cluster.secret_value(secret.secret, secret.key)
        addresses, port = self._beyond()
        config = self._kind.config(f"{self._name}-path-{int(time.time())}", scale=1.0, password=password)
        config |= {"addresses": addresses, "port": port, **more}
        place, judge = (actor.namespace, actor.pod), self._kind.judge().control
        return Probe(self._target.cluster, place, config, judge, container=actor.container)

    def _beyond(self) -> tuple[list[str], int]:
        """The pods behind the control's Service to which attempts go between the faulty node and another."""
        named = self._kind.service
        service = None if named is None else self._target.cluster.service(*named)
        if service is None:
            raise WorldError(
                f"The control goes to {self._kind.host}, which is no Service: no path between nodes is tried"
            )
        own = self._actors.node_of(self._control.source)
        found = [
            each.address
            for each in service.backends
            if each.node is not None and each.node != own and self._node in (each.node, own)
        ]
        if not found:
            where = ", ".join(sorted({each.node or "?" for each in service.backends})) or "nowhere"
            raise WorldError(
                f"The control does not cross between {self._node} and another node: its pod is on {own}, those of "
                f"{self._kind.host} on {where}. Give its source a node."
            )
        return found, service.behind(self._kind.port) or self._kind.port
