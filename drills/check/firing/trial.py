"""One expected (or quiet) alert of one drill on trial: its rules, the cases it is tried in, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from alerts import bounds
from alerts.bounds import Timing
from alerts.promql import PromqlError, Selector, reach_ms, selectors
from drills.check.firing.series import HEALTH_PERIOD_MS, UP, Case, Clock, selected_series
from drills.check.firing.story import Story
from drills.check.given import GivenRule, Record, Rules
from drills.check.world import LoadedPlaybook
from drills.cilium import metrics
from drills.playbook import AlertExpectation, Drill

MOST_STEPS: Final = 4000  # evaluations of one case: beyond, a rule looks back too far to be tried in seconds
MOST_NODES: Final = 10
_ALERTS: Final = "ALERTS"


@dataclass(frozen=True, slots=True)
class Trial:
    """What is asked of promtool. ``expected`` is None for an alert that the drill wants quiet."""

    loaded: LoadedPlaybook
    drill: Drill
    number: int  # of the drill in its playbook
    name: str
    expected: AlertExpectation | None
    position: int  # in `alerts` or in `quiet`
    rules: Sequence[GivenRule]
    records: Sequence[Record]
    stories: Sequence[Story]
    timing: Timing

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels that the alert must have."""
        return {} if self.expected is None else self.expected.labels

    @property
    def evaluation_ms(self) -> int:
        """E of the alert's group."""
        return self.timing.evaluation_of(self.rules[0].rule)

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """Every selector of the rules and of the records that feed them; PromqlError where one cannot be parsed."""
        written = [each.rule.expr for each in self.rules] + [each.expression for each in self.records]
        return tuple(dict.fromkeys(one for text in written for one in selectors(text)))

    def clock(self, story: Story) -> Clock:
        """Long enough before the attack for every range to be filled, and after it for the alert to resolve."""
        rules = [each.rule for each in self.rules]
        evaluation = self.evaluation_ms
        reach = sum(reach_ms(each.expression) for each in self.records)
        settled = _whole((bounds.baseline_wait(rules, self.timing) + reach / 1000) * 1000, evaluation)
        after = max(bounds.resolution(each, self.timing) + each.for_ms / 1000 for each in rules) + reach / 1000
        late = HEALTH_PERIOD_MS / 1000 if story.fault is not None else 0
        seconds = story.seconds + late + after
        if self.expected is not None:
            seconds = max(seconds, self.expected.within, story.seconds + (self.expected.resolves_within or 0))
        attack = settled + _whole(bounds.hold_still(rules, self.timing) * 1000, evaluation)
        until = attack + _whole(seconds * 1000, evaluation) + evaluation
        return Clock(self.timing.scrape_ms, evaluation, settled, attack, until)

    def cases(self) -> Iterator[tuple[Case, Clock]]:
        """Quiet first; then every story at three phases with the target's pods spread as far as can be, which is the
        worst for a rule that looks at each node alone, and once with all of them on one node.

        Of an alert that is to stay quiet, one case of each story is enough.
        """
        clocks = [self.clock(each) for each in self.stories]
        yield Case(Story(), clocks[0].phases[0], 1), max(clocks, key=lambda each: each.until_ms)
        for story, clock in zip(self.stories, clocks, strict=True):
            late = HEALTH_PERIOD_MS if story.fault is not None else 0
            nodes = min(MOST_NODES, story.nodes)
            for phase in clock.phases if self.expected is not None else clock.phases[1:2]:
                yield Case(story, phase, nodes, late), clock
            if self.expected is not None and (nodes > 1 or late):
                yield Case(story, clock.phases[-1], 1, 0), clock

    def series(self, case: Case, clock: Clock) -> list[tuple[str, str]]:
        """The input series of a case."""
        return selected_series(self.selectors, case, clock)

    def group(self) -> dict[str, Any]:
        """The rules as one group of a rule file, without annotations, which promtool would compare."""
        alerts = [_alert(each) for each in self.rules]
        return {"name": "drill", "rules": [*({**each.written} for each in self.records), *alerts]}


def why_not(trial: Trial) -> str | None:
    """Why promtool is no judge of this; None where it is."""
    if not trial.stories:
        return "what this fault does to Cilium's metrics is not known"
    try:
        read = trial.selectors
    except PromqlError as error:
        return str(error)
    unknown = sorted({str(each.metric or each) for each in read if not _modelled(each, trial)})
    if unknown:
        return f"what a drill does to {', '.join(unknown)} is not known"
    own = trial.evaluation_ms
    if any((each.interval_ms or trial.timing.evaluation_ms) != own for each in trial.records):
        return "it reads a recording rule that is evaluated at another interval, and promtool knows one interval only"
    if any(max(clock.evaluations, default=0) / own > MOST_STEPS for _, clock in trial.cases()):
        return "it looks back too far to be tried in seconds"
    return None


def _modelled(selector: Selector, trial: Trial) -> bool:
    name = selector.metric
    if name is None:
        return False
    if name == _ALERTS:  # of this alert alone: no other one is on trial with it
        return any(each.passes(trial.name) for each in selector.matchers if each.name == "alertname")
    recorded = {each.name for each in trial.records} | {UP}
    return name in metrics.METRICS or name in recorded or name in GONE


# Never in Cilium, or gone since 1.15: no series has this name, whatever happens.
GONE: Final = frozenset(
    {
        "cilium_policy_verdict_total",
        "cilium_drops_total",
        "cilium_policy_l7_denied_total",
        "cilium_policy_l7_received_total",
        "cilium_policy_l7_forwarded_total",
        "cilium_policy_l7_parse_errors_total",
    }
)


def _alert(given: GivenRule) -> dict[str, Any]:
    kept = {key: given.written[key] for key in ("alert", "expr", "for", "keep_firing_for") if key in given.written}
    return {**kept, **({"labels": dict(given.rule.labels)} if given.rule.labels else {})}


def _whole(ms: float, step: int) -> int:
    return -(-round(ms) // step) * step


def trials_of(
    loaded: LoadedPlaybook, number: int, drill: Drill, rules: Rules, told: Sequence[Story]
) -> Iterator[Trial]:
    """The trials of a drill: of every alert that it expects or wants quiet, and that is among the rules."""
    wanted: list[tuple[str, AlertExpectation | None, int]] = [
        *((each.name, each, index) for index, each in enumerate(drill.expect.alerts)),
        *((each, None, index) for index, each in enumerate(drill.expect.quiet)),
    ]
    for name, expected, index in wanted:
        found = rules.named(name, {} if expected is None else expected.labels)
        if found:
            records = rules.feeding([each.rule.expr for each in found])
            yield Trial(loaded, drill, number, name, expected, index, found, records, told, rules.timing)
