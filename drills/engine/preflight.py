"""What is refused before anything starts: a drill that could not be judged, or that the guards do not allow.

What takes no live target to find out is in `drills.engine.feasible`, which ``drills check`` asks too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from alerts import bounds
from alerts.bounds import Timing
from alerts.prometheus import LoadedRecord, LoadedRule, RuleGroup
from alerts.promql import PromqlError
from alerts.recorded import behind, leaves, looks_back
from alerts.rule import rule_of_loaded
from drills.engine.feasible import Watched, target_outside_guards, too_early, too_short
from drills.engine.result import BoundSeconds
from drills.engine.watch import Snapshot, carries
from drills.errors import InputError
from drills.playbook import AlertExpectation, Drill, FloodInjection, Playbook, ProbeInjection, WireguardInjection
from drills.playbook.model import Control
from drills.units import format_rate


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the baseline takes, in wall seconds: at most ``settle`` until all is quiet, then ``still``."""

    settle: float
    still: float


def check_built(drill: Drill) -> None:
    """InputError for an injection that this version does not have yet."""
    if drill.control is None:
        raise InputError(f"The drill {drill.name} has no control: a denial counts only beside an allowed request.")
    if isinstance(drill.injection, FloodInjection):
        if not drill.expect.during:
            raise InputError(
                f"The drill {drill.name} does not say what must stay denied under its load: `expect` lacks `during`."
            )
        return
    if isinstance(drill.injection, WireguardInjection):
        if drill.expect.plaintext is None and drill.expect.path is None:
            raise InputError(
                f"The drill {drill.name} does not say what it expects: `expect` lacks `plaintext` or `path`."
            )
        return
    if drill.expect.denied is None:
        raise InputError(f"The drill {drill.name} does not say what it expects of the policy: `expect` lacks `denied`.")
    if drill.expect.during or drill.expect.plaintext is not None or drill.expect.path is not None:
        raise InputError(f"The drill {drill.name}: `during`, `plaintext` and `path` belong to other injections.")


def check_namespaces(drill: Drill, playbook: Playbook) -> None:
    """InputError where an attack or a control goes to a namespace that the guards do not list."""
    outside = target_outside_guards(drill, playbook)
    if outside is not None:
        raise InputError(f"The drill {drill.name} {outside}")


def check_silence(drill: Drill, alertmanager: str | None) -> None:
    """InputError for a drill whose alerts are to be silenced where no Alertmanager is named."""
    if drill.silenced and alertmanager is None:
        raise InputError(
            f"The drill {drill.name} says notify: silence, and silences are laid at Alertmanager: name it with "
            "--alertmanager, or let it say notify: page."
        )


def check_capacity(drill: Drill, time_lapse: float, capacity: float | None) -> None:
    """InputError for a flood beyond what the target carries; ``capacity`` in requests a second of the wall."""
    injection = drill.injection
    if capacity is None or not isinstance(injection, FloodInjection) or injection.rate * time_lapse <= capacity:
        return
    fits = int(capacity / injection.rate)
    way = f"at time-lapse {fits} or less it fits" if fits >= 1 else "it does not even fit in real time"
    raise InputError(
        f"The drill {drill.name} floods with {format_rate(injection.rate)}, which is {injection.rate * time_lapse:g} "
        f"requests a second on the wall at time-lapse {time_lapse:g}; the target carries {capacity:g}: {way}."
    )


def attack_of(drill: Drill) -> ProbeInjection:
    """The injection of a drill that `check_built` let pass."""
    injection = drill.injection
    assert not isinstance(injection, FloodInjection | WireguardInjection)
    return injection


def control_of(drill: Drill) -> Control:
    """The control of a drill that `check_built` let pass."""
    assert drill.control is not None
    return drill.control


def rule_for(expectation_name: str, labels: Mapping[str, str], rules: Sequence[LoadedRule]) -> LoadedRule | None:
    """The loaded rule that can bring the expected alert: its own labels do not contradict the expected ones."""
    named = [rule for rule in rules if rule.name == expectation_name]
    fitting = [rule for rule in named if rule.may_carry(labels)]
    exact = [rule for rule in fitting if carries(rule.labels, labels)]
    return next(iter(exact or fitting or named), None)


def stands_on(rule: LoadedRule | None, records: Sequence[LoadedRecord]) -> tuple[LoadedRecord, ...]:
    """The recording rules behind a loaded rule; none where only Prometheus itself can read it."""
    try:
        return () if rule is None else behind(rule.query, records)
    except PromqlError:
        return ()


def watched(rule: LoadedRule, scrape_ms: int, records: Sequence[LoadedRecord] = ()) -> Watched:
    """A loaded rule with the intervals that it lives under and the recording rules that it stands on."""
    found = rule_of_loaded(rule)
    if records:
        back = looks_back(rule.query, records)
        found = replace(found, reach_ms=back.reach_ms, delay_ms=back.delay_ms)
    return Watched(
        rule=found,
        timing=Timing(scrape_ms=scrape_ms, evaluation_ms=rule.interval_ms),
    )


def bound_seconds(one: Watched, time_lapse: float) -> BoundSeconds:
    """Earliest and latest firing after the condition holds, in playbook seconds."""
    found = bounds.detection(one.rule, one.timing)
    return BoundSeconds(best=found.best * time_lapse, worst=found.worst * time_lapse)


def waits(rules: Sequence[Watched]) -> Waits:
    """The baseline that all these rules need."""
    return Waits(
        settle=max((bounds.baseline_wait([one.rule], one.timing) for one in rules), default=0.0),
        still=max((bounds.hold_still([one.rule], one.timing) for one in rules), default=0.0),
    )


def check_scaled(
    drill: Drill, name: str, groups: Sequence[RuleGroup], refused: Mapping[str, str], time_lapse: float
) -> None:
    """InputError for an alert whose rule, or a recording rule that it reads, was left out because it cannot be scaled.

    ``refused`` are the reasons by the rules' names. Without it the alert would be missed for what the clock does.
    """
    loaded = [rule for group in groups for rule in group.rules if rule.name == name]
    gone = [name] if not loaded else [metric for rule in loaded for metric in _read(rule, groups)]
    for one in gone:
        if one in refused:
            which = f"the rule of {name}" if one == name else f"the recording rule {one}, which {name} reads,"
            raise InputError(
                f"The drill {drill.name}: {which} cannot run in time-lapse {time_lapse:g}: {refused[one]}. Use "
                "--real-time, or leave the drill out with --only."
            )


def _read(rule: LoadedRule, groups: Sequence[RuleGroup]) -> list[str]:
    """The metrics that a rule reads, directly or by recording rules; none where only Prometheus itself can read it."""
    try:
        found = leaves(rule.query, [record for group in groups for record in group.records])
    except PromqlError:
        return []
    return [selector.metric for selector in found if selector.metric is not None]


def check_times(drill: Drill, expected: AlertExpectation, one: Watched, time_lapse: float) -> None:
    """InputError where no run could end well: ``within`` below the best case, or too short an injection."""
    for wrong in (too_early(expected, one, time_lapse), too_short(drill.injection, expected, one, time_lapse)):
        if wrong is not None:
            raise InputError(f"The drill {drill.name}: {wrong}")


def active_names(snapshot: Snapshot, expectations: Sequence[tuple[str, Mapping[str, str]]]) -> tuple[str, ...]:
    """Which of the expected and quiet alerts are pending or firing, in Prometheus or at Alertmanager."""
    return tuple(
        name for name, labels in expectations if snapshot.active(name, labels) or snapshot.managed_alerts(name, labels)
    )


def left_over(snapshot: Snapshot, expectations: Sequence[tuple[str, Mapping[str, str]]]) -> float | None:
    """When Alertmanager will have forgotten alerts that Prometheus no longer has; None where that is not what is left.

    A Prometheus that died with an alert firing never told of its end; Alertmanager keeps it until the end that was
    announced with it, 4 resend delays later (Prometheus rules/manager.go, SendAlerts).
    """
    if any(snapshot.active(name, labels) for name, labels in expectations):
        return None
    kept = [one for name, labels in expectations for one in snapshot.managed_alerts(name, labels)]
    ends = [one.ends_at for one in kept if one.ends_at is not None]
    return max(ends) if ends and len(ends) == len(kept) else None
