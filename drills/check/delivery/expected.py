"""An alert that a playbook expects, as it would reach Alertmanager."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drills.check.world import LoadedPlaybook
from drills.errors import Place
from drills.playbook import AlertExpectation, Drill


@dataclass(frozen=True, slots=True)
class Expected:
    """An expectation, and the label sets that it would reach Alertmanager with."""

    loaded: LoadedPlaybook
    number: int
    drill: Drill
    position: int
    spec: AlertExpectation
    labels: Sequence[Mapping[str, str]]

    @property
    def drill_key(self) -> tuple[int, int]:
        """Which drill it is, of all playbooks."""
        return id(self.loaded), self.number

    def place(self, key: str) -> Place:
        """Where a part of it stands."""
        path = ("spec", "drills", self.number, "expect", "alerts", self.position, key)
        return self.loaded.document.place_of(path)
