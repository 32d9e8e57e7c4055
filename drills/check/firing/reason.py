"""Why an alert did not fire in a case: the same ladder, and the same sentences, as for one that was missed in a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alerts import whynot
from alerts.inputs import Starved, culprit, nearest
from alerts.life import Life
from alerts.prometheus import LoadedRule
from alerts.promql import Selector, calls, comparisons, parse, reach_ms, selectors
from alerts.stopped import Stopped
from alerts.whynot import Birth, Facts, Peak
from drills.check.firing.judge import Labels, Seen, evaluate, labels_of
from drills.check.firing.series import selected_series, target_labels
from drills.check.firing.trial import Trial
from drills.check.given import GivenRule
from drills.cilium import metrics
from drills.cilium.metrics import Birth as Born

_COUNTING = frozenset({"increase", "rate", "irate", "delta"})


def reason(trial: Trial, seen: Seen) -> Stopped:
    """Where it stopped, in a case in which it did not fire."""
    given = trial.rules[0]
    rule = _loaded(given, trial)
    compared = comparisons(given.rule.expr)
    values = evaluate(trial, seen.case, seen.clock, [text for text, _, _ in compared]) if compared else []
    peaks = tuple(_peak(*one, found) for one, found in zip(compared, values, strict=True))
    facts = Facts(
        alert=trial.name,
        labels=trial.labels,
        rules=(rule,),
        names=(trial.name,),
        life=_life(seen, trial),
        until=seen.clock.until_ms / 1000,
        starved=_starved(given.rule.expr, trial),
        peaks=peaks,
        births=_births(given.rule.expr, seen),
        seen_as=tuple({k: v for k, v in labels if k != "alertname"} for labels in seen.states),
    )
    return whynot.decide(facts)


def _loaded(given: GivenRule, trial: Trial) -> LoadedRule:
    rule = given.rule
    return LoadedRule(
        name=rule.alert,
        query=rule.expr,
        for_ms=rule.for_ms,
        keep_firing_ms=rule.keep_firing_ms,
        labels=rule.labels,
        annotations={},
        state="unknown",
        health="ok",
        last_error="",
        last_evaluation=None,
        evaluation_seconds=0.0,
        alerts=(),
        group=rule.group,
        file=rule.source,
        interval_ms=trial.evaluation_ms,
    )


def _life(seen: Seen, trial: Trial) -> Life:
    """The longest spell of pending, in seconds."""
    best: tuple[int, int] | None = None
    for labels, states in seen.states.items():
        if not trial.labels.items() <= dict(labels).items():
            continue
        times = sorted(states)
        begin = times[0]
        for before, time in zip([times[0], *times], times, strict=False):
            if time - before > seen.clock.evaluation_ms:
                begin = time
            if best is None or time - begin > best[1] - best[0]:
                best = (begin, time)
    if best is None:
        return Life()
    return Life(active_at=best[0] / 1000, pending_until=best[1] / 1000)


def _starved(expression: str, trial: Trial) -> Starved | None:
    recorded = {each.name for each in trial.records}
    extra = target_labels(trial.selectors)

    def has(selector: Selector) -> bool:
        metric = metrics.METRICS.get(selector.metric or "")
        if metric is None:
            return selector.metric in recorded or selector.metric in ("up", "ALERTS")
        return metric.name in recorded or _some(selector, trial, extra)

    found = culprit(expression, has)
    if found is None:
        return None
    if found.metric not in metrics.METRICS:
        near = nearest(found.metric or "", sorted(metrics.METRICS))
        hint = f"; the nearest that exists is {near}" if near else ""
        return Starved(found, "no-series", f"{found.metric} has no series{hint}")
    return Starved(found, "no-match", f"no series of {found.metric} fits {found}{_values(found)}")


def _values(selector: Selector) -> str:
    """What a label's values are, where a matcher fits none of them."""
    known = metrics.METRICS[selector.metric or ""].labels
    for each in selector.matchers:
        values = [str(value) for value in known.get(each.name, ())]
        if values and not any(each.passes(value) for value in values):
            return f"; {each.name} is one of {', '.join(sorted(values))}"
    return ""


def _some(selector: Selector, trial: Trial, extra: dict[str, str]) -> bool:
    """Whether a selector fits a series that the attack moves or that is there anyway."""
    metric = metrics.METRICS[selector.metric or ""]
    there = [dict(each) for each in metric.at_start()]
    there += [dict(each.labels) for story in trial.stories for each in story.streams if each.metric is metric]
    return any(
        all(each.passes({**extra, **labels}.get(each.name, "?")) for each in selector.matchers) for labels in there
    )


def _peak(text: str, operator: str, threshold: float, found: dict[Labels, list[float]]) -> Peak:
    best = min if operator in ("<", "<=") else max
    real = {labels: [each for each in values if not math.isnan(each)] for labels, values in found.items()}
    by_series = {
        "{" + ",".join(f"{key}={value}" for key, value in labels) + "}": best(values)
        for labels, values in real.items()
        if values
    }
    return Peak(text, operator, threshold, best(by_series.values()) if by_series else None, by_series)


def _births(expression: str, seen: Seen) -> tuple[Birth, ...]:
    if not calls(parse(expression)) & _COUNTING or not reach_ms(expression):
        return ()
    ranged = [each for each in selectors(expression) if each.range_ms]
    births = (_birth(each, seen) for each in ranged)
    return tuple(each for each in births if each is not None)


def _birth(selector: Selector, seen: Seen) -> Birth | None:
    metric = metrics.METRICS.get(selector.metric or "")
    if metric is None or metric.birth is not Born.FIRST_EVENT:
        return None
    firsts = first_values(selector, seen)
    return Birth(metric.name, len(firsts), sum(firsts)) if firsts else None


def first_values(selector: Selector, seen: Seen) -> Sequence[float]:
    """The first samples of the series that a selector reads."""
    found = []
    for name, values in selected_series([selector], seen.case, seen.clock):
        labels = dict(labels_of(name))
        first = next((each for each in values.split() if each[0] != "_"), None)
        if first is not None and all(each.passes(labels.get(each.name, "")) for each in selector.matchers):
            found.append(float(first))
    return found
