"""Why an alert did not come: the first rung of the ladder at which it stopped, with a reason that a reader can act on.

The ladder up to firing; what lies between firing and the receiver is in `alerts.delivery`. `decide` is pure;
`gather` asks Prometheus. Rungs are the contract's ``stoppedAt`` words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from alerts.inputs import Starved, nearest, starved
from alerts.life import Life
from alerts.life import selector as selector_of_alert
from alerts.prometheus import LoadedRecord, LoadedRule, Prometheus, PrometheusError, Series
from alerts.promql import PromqlError, Selector, calls, comparisons, parse, reach_ms, selectors
from alerts.recorded import behind
from alerts.stopped import Stopped
from drills.units import format_duration

_COUNTING = frozenset({"increase", "rate", "irate", "delta"})  # blind to a series' first sample


@dataclass(frozen=True, slots=True)
class Peak:
    """How far one comparison got: the extreme value of its left side, and each series' own extreme."""

    text: str
    operator: str
    threshold: float
    value: float | None
    by_series: Mapping[str, float]

    @property
    def met(self) -> bool:
        """Whether the comparison was ever true at an evaluation."""
        return self.value is not None and _holds(self.value, self.operator, self.threshold)


@dataclass(frozen=True, slots=True)
class Birth:
    """Series that were born in the period: what their first samples, of these times, already held is invisible to
    ``increase()``.
    """

    metric: str
    series: int
    first_values: float
    first_at: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What `decide` rests on. ``rules`` are the loaded rules of the alert's name, ``names`` all loaded alerts.

    ``behind`` are the recording rules that the alert stands on; ``k`` turns seconds to playbook time; ``seen_as`` are
    the labels with which the alert was active, if with others.
    """

    alert: str
    labels: Mapping[str, str]
    rules: tuple[LoadedRule, ...]
    names: tuple[str, ...]
    life: Life
    until: float
    starved: Starved | None = None
    peaks: tuple[Peak, ...] = ()
    births: tuple[Birth, ...] = ()
    behind: tuple[LoadedRecord, ...] = ()
    seen_as: tuple[Mapping[str, str], ...] = ()
    k: float = 1


def gather(
    prometheus: Prometheus,
    alert: str,
    labels: Mapping[str, str],
    life: Life,
    *,
    since: float,
    until: float,
    k: float = 1,
    written: str | None = None,
) -> Facts:
    """Ask Prometheus for the facts about an alert that did not fire between two times. Raises PrometheusError.

    ``written`` is the expression as its author wrote it, before time-lapse (None: it is not known).
    """
    groups = prometheus.rules()
    rules = tuple(rule for group in groups for rule in group.rules if rule.name == alert)
    names = tuple(sorted({rule.name for group in groups for rule in group.rules}))
    facts = Facts(alert, labels, rules, names, life, until, k=k)
    fitting = _fitting(facts)
    if not fitting or fitting[0].health == "err":
        return facts
    rule = fitting[0]
    try:
        records = behind(rule.query, [record for group in groups for record in group.records])
        return replace(
            facts,
            behind=records,
            starved=starved(prometheus, rule.query, since=since, until=until, behind=records),
            peaks=as_written(peaks(prometheus, rule, since, until), written),
            births=_births(prometheus, [rule.query, *(one.query for one in records)], since, until),
            seen_as=_seen_as(prometheus, alert, since, until),
        )
    except PromqlError:
        return facts  # valid for Prometheus, unknown to the parser: nothing more can be said


def _seen_as(prometheus: Prometheus, alert: str, since: float, until: float) -> tuple[Mapping[str, str], ...]:
    series = prometheus.samples(selector_of_alert(alert), until, until - since)
    hidden = ("__name__", "alertname", "alertstate")
    return tuple({key: value for key, value in one.labels.items() if key not in hidden} for one in series)


def decide(facts: Facts) -> Stopped:
    """Where an alert that never fired stopped."""
    return _rule_at_fault(facts) or _time_at_fault(facts) or _input_at_fault(facts) or _unknown(facts)


def _fitting(facts: Facts) -> list[LoadedRule]:
    return [rule for rule in facts.rules if rule.may_carry(facts.labels)]


def _rule_at_fault(facts: Facts) -> Stopped | None:
    if not facts.rules:
        near = nearest(facts.alert, facts.names)
        hint = f"the nearest that is loaded is {near}" if near else f"{len(facts.names)} alerting rules are loaded"
        return Stopped(
            "rule-not-loaded",
            f"Prometheus has no alerting rule {facts.alert}; {hint}. Is its PrometheusRule applied, selected by "
            "ruleSelector, and free of errors (kubectl describe prometheusrule)?",
        )
    fitting = _fitting(facts)
    if not fitting:
        own = {key: facts.rules[0].labels.get(key) for key in facts.labels}
        return Stopped(
            "rule-not-loaded", f"{facts.alert} is loaded only with labels {_pairs(own)}, not {_pairs(facts.labels)}"
        )
    broken = [rule for rule in fitting if rule.health == "err"]
    if broken:
        return Stopped("rule-error", f"evaluating {facts.alert} fails: {broken[0].last_error}")
    below = next((one for one in facts.behind if one.health == "err"), None)
    if below is not None:
        return Stopped(
            "rule-error",
            f"evaluating the recording rule {below.name}, which {facts.alert} reads, fails: {below.last_error}",
        )
    return None


def _time_at_fault(facts: Facts) -> Stopped | None:
    """It was pending: the condition held, but not for long enough."""
    life, rule = facts.life, _fitting(facts)[0]
    if life.pending_until is None or life.active_at is None:
        return None
    wanted = format_duration(round(rule.for_ms * facts.k))
    held = format_duration(round((life.pending_until - life.active_at) * facts.k) * 1000)
    if facts.until - life.pending_until <= 2.5 * rule.interval_ms / 1000:
        return Stopped(
            "pending", f"{facts.alert} is still pending: the condition has held for {held}, `for` asks for {wanted}"
        )
    return Stopped("condition-too-short", f"the condition held for {held} and ended, `for` asks for {wanted}")


def _input_at_fault(facts: Facts) -> Stopped | None:
    if facts.starved is not None:
        return Stopped(facts.starved.stopped_at, facts.starved.reason)
    failed = next((peak for peak in facts.peaks if not peak.met), None)
    if failed is None:
        return None
    born = _blamed(facts, failed)
    if born is not None:
        return Stopped(
            "birth",
            f"{born.series} series of {born.metric} began during the attack at {born.first_values:g}, which "
            f"increase() and rate() do not see; without it the highest value is {_shown(failed.value)}, "
            f"not {failed.operator} {failed.threshold:g}",
        )
    return Stopped("below-threshold", _below(failed))


def _blamed(facts: Facts, failed: Peak) -> Birth | None:
    """The births that would have made the difference."""
    if failed.operator not in (">", ">="):
        return None
    reached = failed.value or 0.0
    return next(
        (birth for birth in facts.births if _holds(reached + birth.first_values, failed.operator, failed.threshold)),
        None,
    )


def _below(peak: Peak) -> str:
    if peak.value is None:
        return f"{peak.text} had no value in the period, so it was never {peak.operator} {peak.threshold:g}"
    extreme = "lowest" if peak.operator in ("<", "<=") else "highest"
    text = f"the {extreme} value of {peak.text} was {_shown(peak.value)}, never {peak.operator} {peak.threshold:g}"
    if len(peak.by_series) > 1:
        parts = ", ".join(f"{name}: {value:g}" for name, value in sorted(peak.by_series.items())[:6])
        text += f"; by series, which no sum brings together: {parts}"
    return text


def _unknown(facts: Facts) -> Stopped:
    if facts.seen_as:
        found = "; ".join(sorted({_pairs(labels) for labels in facts.seen_as}))
        return Stopped("no-match", f"{facts.alert} was active with labels {found}, not with {_pairs(facts.labels)}")
    return Stopped("unknown", f"{facts.alert} never became pending, and no single cause was found")


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _pairs(labels: Mapping[str, str | None]) -> str:
    return "{" + ", ".join(f"{key}={value}" for key, value in labels.items()) + "}"


def _holds(value: float, operator: str, threshold: float) -> bool:
    match operator:
        case ">":
            return value > threshold
        case ">=":
            return value >= threshold
        case "<":
            return value < threshold
        case "<=":
            return value <= threshold
        case "==":
            return value == threshold
        case _:
            return value != threshold


def peaks(
    prometheus: Prometheus, rule: LoadedRule, since: float, until: float, labels: Mapping[str, str] | None = None
) -> tuple[Peak, ...]:
    """How far each of the rule's comparisons got between two times; with ``labels`` only by series that do not
    contradict them, since others bring other alerts. Raises PrometheusError, PromqlError.
    """
    step = max(rule.interval_ms / 1000, (until - since) / 10_000)  # Prometheus answers 11000 points at most
    found = []
    for text, operator, threshold in comparisons(rule.query):
        try:
            series = prometheus.query_range(text, since, until, step)
        except PrometheusError:
            continue
        found.append(_peak(text, operator, threshold, concerning(series, labels or {})))
    return tuple(found)


def concerning(series: Sequence[Series], labels: Mapping[str, str]) -> list[Series]:
    """The series that an alert with these labels may come from; those of other values bring other alerts."""
    return [one for one in series if all(one.labels.get(key, value) == value for key, value in labels.items())]


def as_written(found: Sequence[Peak], written: str | None) -> tuple[Peak, ...]:
    """The same with the author's text. The numbers stay: a scaled rule gives those of the playbook's time.

    `alerts.timelapse` keeps the order of comparisons; where the texts do not belong together, they stay as they are.
    """
    try:
        texts = [text for text, _, _ in comparisons(written or "")]
    except PromqlError:
        return tuple(found)
    if len(texts) != len(found):
        return tuple(found)
    return tuple(replace(peak, text=text) for peak, text in zip(found, texts, strict=True))


def _peak(text: str, operator: str, threshold: float, series: Sequence[Series]) -> Peak:
    best = min if operator in ("<", "<=") else max
    by_series = {_label_text(one.labels): best(value for _, value in one.points) for one in series if one.points}
    if operator in ("==", "!="):
        hits = [v for one in series for _, v in one.points if _holds(v, operator, threshold)]
        value = hits[0] if hits else next(iter(by_series.values()), None)
    else:
        value = best(by_series.values()) if by_series else None
    return Peak(text, operator, threshold, value, by_series)


def _label_text(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{key}={value}" for key, value in sorted(labels.items())) + "}"


def _births(prometheus: Prometheus, expressions: Sequence[str], since: float, until: float) -> tuple[Birth, ...]:
    births = (
        _birth(prometheus, selector, since, until, reach_ms(expression) / 1000)
        for expression in expressions
        if calls(parse(expression)) & _COUNTING
        for selector in selectors(expression)
        if selector.range_ms
    )
    return tuple(birth for birth in births if birth is not None)


def _birth(prometheus: Prometheus, selector: Selector, since: float, until: float, before: float) -> Birth | None:
    series = prometheus.samples(str(selector), until, until - since + before)
    born = [one.points[0] for one in series if one.points and one.points[0][0] >= since and one.points[0][1] > 0]
    if not born:
        return None
    name, values = selector.metric or str(selector), [value for _, value in born]
    return Birth(name, len(born), sum(values), tuple(moment for moment, _ in born))
