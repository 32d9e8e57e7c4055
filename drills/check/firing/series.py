"""A story as Prometheus would scrape it: input series in promtool's notation.

Every series is scraped every S on every node, at a phase of its own against the rules' evaluation. A series that is
born by its first event is absent until then; one that the agent creates at its start is there at 0; gauges and other
series stand still at what a healthy cluster shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from alerts.promql import LabelMatcher, Selector
from drills.check.firing.story import Story, Stream
from drills.cilium import metrics
from drills.cilium.metrics import AGENT_PORT, HUBBLE_PORT, Metric

UP: Final = "up"
HEALTH_PERIOD_MS: Final = 60_000  # Cilium's interval of health probes
SUBSTEPS: Final = (15, 12, 10, 8, 6, 5, 4, 3, 2)
_HEALTHY: Final[Mapping[tuple[str, str], float]] = MappingProxyType(
    {
        ("cilium_node_health_connectivity_status", "reachable"): 1,
        ("cilium_policy_endpoint_enforcement_status", "both"): 8,
        ("cilium_endpoint_state", "ready"): 8,
    }
)
_STANDING: Final[Mapping[str, float]] = MappingProxyType(
    {"cilium_policy": 8, "cilium_policy_max_revision": 12, "cilium_process_start_time_seconds": -86_400}
)
_PER_SECOND: Final[Mapping[str, float]] = MappingProxyType({"cilium_forward_count_total": 100})


@dataclass(frozen=True, slots=True)
class Clock:
    """When things happen, in milliseconds: scrapes and evaluations, the attack's start, the end of it all."""

    scrape_ms: int
    evaluation_ms: int
    settled_ms: int  # every range is filled with what a quiet cluster shows
    attack_ms: int
    until_ms: int

    @property
    def step_ms(self) -> int:
        """The finest step: a fraction of the scrape interval in whole milliseconds."""
        parts = next((each for each in SUBSTEPS if self.scrape_ms % each == 0), 1)
        return self.scrape_ms // parts

    @property
    def phases(self) -> tuple[int, ...]:
        """Three phases of the scrapes against the evaluations: together, just after, in the middle."""
        parts = self.scrape_ms // self.step_ms
        return tuple(dict.fromkeys(each * self.step_ms for each in (0, 1 % parts, parts // 2)))

    @property
    def evaluations(self) -> range:
        """The times of all evaluations."""
        return range(0, self.until_ms + 1, self.evaluation_ms)

    def scrapes(self, phase: int) -> range:
        """The times of all scrapes."""
        return range(phase, self.until_ms + 1, self.scrape_ms)


@dataclass(frozen=True, slots=True)
class Case:
    """A story at one phase and spread; without a story nothing happens."""

    story: Story
    phase: int
    spread: int
    late_ms: int = 0  # how much later than the fault the health probes notice it, and its end

    @property
    def title(self) -> str:
        """In words, for a test's name."""
        if not self.story.streams and self.story.fault is None:
            return "nothing happens"
        where = f", spread over {self.spread} nodes" if self.spread > 1 else ""
        late = f", noticed {self.late_ms // 1000} s later" if self.late_ms else ""
        return f"{self.story.name}{where}{late}, scraped {self.phase / 1000:g} s after an evaluation"


def selected_series(selectors: Sequence[Selector], case: Case, clock: Clock) -> list[tuple[str, str]]:
    """The series that selectors could read, in promtool's notation: name with labels, and values."""
    wanted = {each.metric for each in selectors}
    extra = target_labels(selectors)
    found: dict[str, str] = {}
    for metric in metrics.METRICS.values():
        if metric.name in wanted:
            for node in range(max(2, case.spread)):
                for labels, values in _of_metric(metric, node, case, clock):
                    own = {**_target(metric.exporter, node), **extra, **labels}
                    found[_name(metric.name, own)] = _text(values, case.phase, clock)
    if UP in wanted:
        for node in range(max(2, case.spread)):
            for exporter in ("agent", "hubble"):
                own = {**_target(exporter, node), **extra}
                found[_name(UP, own)] = _text([1.0] * len(clock.scrapes(case.phase)), case.phase, clock)
    return sorted(found.items())


def target_labels(selectors: Sequence[Selector]) -> dict[str, str]:
    """Labels that come from how Prometheus scrapes, as the selectors want them: nobody here knows what they are."""
    found: dict[str, str] = {}
    for selector in selectors:
        metric = metrics.METRICS.get(selector.metric or "")
        if metric is None and selector.metric != UP:
            continue
        for matcher in selector.matchers:
            value = _wanted_value(matcher)
            if value and (metric is None or matcher.name not in metric.labels):
                found.setdefault(matcher.name, value)
    return found


def _wanted_value(matcher: LabelMatcher) -> str | None:
    if matcher.operator == "=":
        return matcher.value or None
    if matcher.operator != "=~":
        return None
    guesses = (matcher.value, *re.sub(r"[()^$]", "", matcher.value).split("|"), matcher.value.replace(".*", ""))
    return next((each for each in guesses if each and matcher.passes(each)), None)


def _target(exporter: str, node: int) -> dict[str, str]:
    port, job = (AGENT_PORT, "cilium-agent") if exporter == "agent" else (HUBBLE_PORT, "hubble-metrics")
    name = f"node-{node + 1}"
    pod = f"cilium-{node + 1}"
    return {"instance": f"{name}:{port}", "job": job, "namespace": "kube-system", "node": name, "pod": pod}


def _of_metric(metric: Metric, node: int, case: Case, clock: Clock) -> Iterator[tuple[dict[str, str], list[float]]]:
    """The series of a metric on a node: labels of its own, and a value at every scrape; NaN where it is not there."""
    streams: dict[tuple[tuple[str, str], ...], list[Stream]] = {}
    for stream in case.story.streams:
        if stream.metric is metric and _sees(stream, node, case):
            streams.setdefault(tuple(sorted(stream.labels.items())), []).append(stream)
    standing = {tuple(sorted(each.items())): each for each in metric.at_start()}
    if metric.name in _PER_SECOND:
        standing = {(("direction", str(each)),): {"direction": str(each)} for each in metrics.Direction}
    times = clock.scrapes(case.phase)
    for key in dict.fromkeys([*standing, *streams]):
        labels = dict(key)
        base = [_standing(metric, labels, moment, case, clock) for moment in times]
        counted = [sum(_count(each, moment, node, case, clock) for each in streams.get(key, ())) for moment in times]
        born = key in standing
        yield labels, [b + c if born or c else float("nan") for b, c in zip(base, counted, strict=True)]


def _sees(stream: Stream, node: int, case: Case) -> bool:
    return node == 0 or (stream.at == "target" and node < case.spread)


def _count(stream: Stream, moment: int, node: int, case: Case, clock: Clock) -> int:
    """How much a node has counted by a moment."""
    spread = case.spread if stream.at == "target" else 1
    if not stream.attack:
        last = clock.attack_ms + round(case.story.seconds * 1000)
        made = int(min(moment, last) * stream.rate / 1000)
        return stream.amount * ((made + spread - 1 - node) // spread)
    total = 0
    for after in stream.after:
        elapsed = moment - clock.attack_ms - after * 1000
        made = min(stream.attempts, int(elapsed * stream.rate / 1000) + 1) if elapsed > 0 else 0
        total += (made + spread - 1 - node) // spread
    return stream.amount * total


def _standing(metric: Metric, labels: Mapping[str, str], moment: int, case: Case, clock: Clock) -> float:
    if metric.name in _PER_SECOND:
        return int(moment * _PER_SECOND[metric.name] / 1000)
    value = _STANDING.get(metric.name, 0.0)
    for label in labels.values():
        value = _HEALTHY.get((metric.name, label), value)
    if case.story.fault is None or not _is_down(moment, case, clock):
        return value
    if metric is metrics.HEALTH_STATUS and labels["type"] == "endpoint":
        return {"reachable": 0.0, "unreachable": 1.0}.get(labels["status"], value)
    return 1.0 if metric is metrics.UNREACHABLE_HEALTH_ENDPOINTS else value


def _is_down(moment: int, case: Case, clock: Clock) -> bool:
    """Whether the health probes have found the path closed."""
    begin = clock.attack_ms + case.late_ms
    return begin < moment <= clock.attack_ms + round(case.story.seconds * 1000) + case.late_ms


def _name(metric: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f"{key}={_quoted(value)}" for key, value in labels.items())
    return f"{metric}{{{inside}}}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _text(values: Sequence[float], phase: int, clock: Clock) -> str:
    """promtool's notation at the finest step: a value, then blanks up to the next scrape."""
    step = clock.step_ms
    blanks = clock.scrape_ms // step - 1
    between = f" _x{blanks} " if blanks else " "
    before = _before(values[0], phase // step) if phase else ""
    return before + between.join("_" if each != each else f"{each:.15g}" for each in values)  # noqa: PLR0124 - NaN


def _before(first: float, steps: int) -> str:
    """What is there from the start is there at 0, too, so that nothing is missing until the first scrape."""
    if first != first:  # noqa: PLR0124 - NaN
        return f"_x{steps} "
    return f"{first:.15g} " + (f"_x{steps - 1} " if steps > 1 else "")
