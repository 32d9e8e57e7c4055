"""Alerts that a drill does not expect and that fire meanwhile all the same: one of them may mute the expected one.

Only those are tried that an inhibition could make matter: with the attack, where they look at a series which it moves;
over a healthy cluster otherwise, once for all drills.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from alerts.inhibition import could_mute
from drills.check.coverage import moved_by
from drills.check.delivery.configs import Config
from drills.check.delivery.expected import Expected
from drills.check.firing.judge import Seen, Verdict, judge
from drills.check.firing.trial import Trial, why_not
from drills.check.given import GivenRule, Rules

MOST: Final = 10  # of one drill
MOST_STANDING: Final = 30  # of all drills


@dataclass(frozen=True, slots=True)
class Fired:
    """Another alert, the label sets that it fires with, and whether it does so without an attack."""

    name: str
    labels: Sequence[Mapping[str, str]]
    always: bool


def bystanders(
    rules: Rules, configs: Sequence[Config], expected: Sequence[Expected], verdicts: Sequence[Verdict]
) -> dict[tuple[int, int], list[Fired]]:
    """Of every drill: the names and the label sets of other alerts that fire during it."""
    inhibiting = [each for each in configs if each.data.get("inhibit_rules")]
    drills: dict[tuple[int, int], Trial] = {}
    for verdict in verdicts if inhibiting else ():
        if verdict.trial.expected is not None:
            drills.setdefault(_key(verdict.trial), verdict.trial)
    moved: list[Trial] = []
    still: list[tuple[Trial, list[GivenRule]]] = []
    for key, trial in drills.items():
        targets = [labels for each in expected if each.drill_key == key for labels in each.labels]
        others = list(_others(trial, rules, inhibiting, targets))
        by_attack = [each for each in others if moved_by(each, rules, trial.stories)]
        moved += list(_ready(trial, rules, by_attack))[:MOST]
        still.append((trial, [each for each in others if each not in by_attack]))
    found: dict[tuple[int, int], list[Fired]] = {}
    for verdict in judge(moved):
        labels = [dict(each) for seen in verdict.seen for each, states in seen.states.items() if _fires(states)]
        if labels:
            found.setdefault(_key(verdict.trial), []).append(Fired(verdict.trial.name, labels, always=False))
    always = _standing(still, rules)
    for trial, others in still:
        found.setdefault(_key(trial), []).extend(always[id(each)] for each in others if id(each) in always)
    return found


def _standing(still: Sequence[tuple[Trial, Sequence[GivenRule]]], rules: Rules) -> dict[int, Fired]:
    """Of rules that no drill moves, by identity: those that fire in a healthy cluster."""
    asked: dict[int, Trial] = {}
    for trial, others in still:
        for one in _ready(trial, rules, [each for each in others if id(each) not in asked]):
            if len(asked) < MOST_STANDING:
                asked[id(one.rules[0])] = replace(one, stories=one.stories[:1])  # the attack makes no difference
    found = {}
    for verdict in judge(list(asked.values())):
        labels = list(_healthy(verdict.seen[0]))
        if labels:
            found[id(verdict.trial.rules[0])] = Fired(verdict.trial.name, labels, always=True)
    return found


def _key(trial: Trial) -> tuple[int, int]:
    return id(trial.loaded), trial.number


def _others(
    trial: Trial, rules: Rules, configs: Sequence[Config], targets: Sequence[Mapping[str, str]]
) -> Iterator[GivenRule]:
    """The rules of alerts that the drill does not expect, and that could mute one that it does."""
    names = {each.name for each in trial.drill.expect.alerts}
    for given in rules.alerts:
        own = {**given.rule.labels, "alertname": given.rule.alert}
        if given.rule.alert in names:
            continue
        if any(could_mute(config.data, target, own) for config in configs for target in targets):
            yield given


def _ready(trial: Trial, rules: Rules, others: Sequence[GivenRule]) -> Iterator[Trial]:
    """Those of them that promtool can judge."""
    for given in others:
        records = rules.feeding([given.rule.expr])
        candidate = replace(trial, name=given.rule.alert, expected=None, rules=[given], records=records)
        if why_not(candidate) is None:
            yield candidate


def _fires(states: Mapping[int, str]) -> bool:
    return "firing" in states.values()


def _healthy(quiet: Seen) -> Iterator[Mapping[str, str]]:
    """The label sets that fire in a healthy cluster that has settled."""
    for labels, states in quiet.states.items():
        if any(state == "firing" and time >= quiet.clock.settled_ms for time, state in states.items()):
            yield dict(labels)
