"""Alerts that a drill does not expect and that fire because of it all the same: one of them may mute the expected one.

Only those are tried that an inhibition could make matter, and that look at a series which the drill's attack moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from alerts.inhibition import could_mute
from drills.check.coverage import moved_by
from drills.check.delivery.configs import Config
from drills.check.delivery.expected import Expected
from drills.check.firing.judge import Verdict, judge
from drills.check.firing.trial import Trial, why_not
from drills.check.given import Rules

MOST: Final = 10  # of one drill

Fired = tuple[str, Sequence[Mapping[str, str]]]


def bystanders(
    rules: Rules, configs: Sequence[Config], expected: Sequence[Expected], verdicts: Sequence[Verdict]
) -> dict[tuple[int, int], list[Fired]]:
    """Of every drill: the names and the label sets of other alerts that it makes fire."""
    inhibiting = [each for each in configs if each.data.get("inhibit_rules")]
    trials: list[Trial] = []
    known: set[tuple[int, int]] = set()
    for verdict in verdicts if inhibiting else ():
        key = (id(verdict.trial.loaded), verdict.trial.number)
        if key not in known and verdict.trial.expected is not None:
            known.add(key)
            targets = [labels for each in expected if each.drill_key == key for labels in each.labels]
            trials += list(_candidates(verdict.trial, rules, inhibiting, targets))[:MOST]
    found: dict[tuple[int, int], list[Fired]] = {}
    for verdict in judge(trials):
        labels = [dict(each) for seen in verdict.seen for each, states in seen.states.items() if _fires(states)]
        if labels:
            found.setdefault((id(verdict.trial.loaded), verdict.trial.number), []).append((verdict.trial.name, labels))
    return found


def _candidates(
    trial: Trial, rules: Rules, configs: Sequence[Config], targets: Sequence[Mapping[str, str]]
) -> Iterator[Trial]:
    names = {each.name for each in trial.drill.expect.alerts}
    for given in rules.alerts:
        own = {**given.rule.labels, "alertname": given.rule.alert}
        matters = any(could_mute(config.data, target, own) for config in configs for target in targets)
        if given.rule.alert in names or not matters or not moved_by(given, rules, trial.stories):
            continue
        records = rules.feeding([given.rule.expr])
        candidate = replace(trial, name=given.rule.alert, expected=None, rules=[given], records=records)
        if why_not(candidate) is None:
            yield candidate


def _fires(states: Mapping[int, str]) -> bool:
    return "firing" in states.values()
