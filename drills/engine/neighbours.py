"""Whose alert is it, while several drills run: it belongs to the drill that expects it, or whose doing it must be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from alerts.prometheus import ActiveAlert, LoadedRule
from drills.engine.effects import Footprint, reads_of
from drills.engine.seen import Seen
from drills.engine.watch import carries
from drills.playbook import AlertExpectation


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One drill of a run, whether it runs or not: what it may do, what it found so far, what it expects."""

    footprint: Footprint
    seen: Seen
    expects: tuple[AlertExpectation, ...]

    def attacked_at(self, at: float) -> bool:
        """Whether its attack had begun, and its alerts were not judged yet."""
        began, until = self.seen.attack_began, self.seen.observed_until
        return began is not None and began <= at <= (until or time.time())

    def may_have_caused(self, alert: ActiveAlert, rule: LoadedRule) -> bool:
        """Whether its attack had begun, and was recent enough: one scrape (as often as the rule is evaluated) and one
        evaluation.
        """
        began, ended = self.seen.attack_began, self.seen.attack_ended
        if began is not None and alert.active_at < began:
            return False
        return ended is None or alert.active_at <= ended + 2 * rule.interval_ms / 1000

    def awaits(self, alert: ActiveAlert) -> bool:
        """Whether it expects this very alert."""
        return any(one.name == alert.name and carries(alert.labels, one.labels) for one in self.expects)


@dataclass(slots=True)
class Neighbours:
    """All drills of a run by name; empty until the plan is made."""

    drills: Mapping[str, Neighbour] = field(default_factory=dict)

    def own(self, drill: str, alert: ActiveAlert, rule: LoadedRule) -> bool:
        """Whether an alert that became active belongs to another drill than ``drill``: one that attacked then, and that
        expects it, or may have moved what its rule reads while ``drill`` could not.
        """
        others = [one for name, one in self.drills.items() if name != drill and one.attacked_at(alert.active_at)]
        if any(one.awaits(alert) for one in others):
            return True
        reads = reads_of(rule.name, rule.query) if others else ()
        mine = self.drills.get(drill)
        if mine is None or (mine.may_have_caused(alert, rule) and any(mine.footprint.moves(read) for read in reads)):
            return False
        return any(one.footprint.moves(read) for one in others for read in reads)
