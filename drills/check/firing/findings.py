"""What came of the trials, as findings at the playbook's expectation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alerts.promql import PromqlError, reach_ms
from alerts.rule import AlertRule
from drills.check.finding import Finding, Level
from drills.check.firing import rules as documented
from drills.check.firing.judge import Seen, Verdict, judge
from drills.check.firing.story import stories
from drills.check.firing.trial import Trial, trials_of, why_not
from drills.check.given import GivenRule, Rules, metrics_of
from drills.check.predict.cluster import Cluster
from drills.check.world import LoadedPlaybook, World
from drills.engine.feasible import Watched, too_early, too_short
from drills.errors import Place
from drills.playbook import Drill
from drills.playbook.nearest import did_you_mean
from drills.source import KeyPath
from drills.units import format_duration


@dataclass(slots=True)
class Tried:
    """Everything that was tried: the verdicts, and the findings; ``good`` are verdicts without a finding."""

    verdicts: list[Verdict] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    good: list[Verdict] = field(default_factory=list)


def try_all(world: World, rules: Rules, cluster: Cluster) -> Tried:
    """Try every alert that a playbook expects or wants quiet. WorldError if promtool is missing."""
    tried = Tried()
    ready: list[Trial] = []
    for loaded in world.playbooks:
        for number, drill in enumerate(loaded.playbook.drills):
            tried.findings += _not_loaded(loaded, number, drill, rules)
            told = stories(drill, loaded.playbook, cluster)
            for trial in trials_of(loaded, number, drill, rules, told):
                found = _before(trial)
                tried.findings += found
                if not found:
                    ready.append(trial)
    for verdict in judge(ready):
        found = list(_of(verdict))
        tried.verdicts.append(verdict)
        tried.findings += found
        if not found:
            tried.good.append(verdict)
    return tried


def _not_loaded(loaded: LoadedPlaybook, number: int, drill: Drill, rules: Rules) -> Iterator[Finding]:
    if not rules.alerts and not rules.records:
        return
    wanted: list[tuple[KeyPath, str, Mapping[str, str]]] = [
        *((("alerts", index, "name"), each.name, each.labels) for index, each in enumerate(drill.expect.alerts)),
        *((("quiet", index), each, {}) for index, each in enumerate(drill.expect.quiet)),
    ]
    known = sorted({each.rule.alert for each in rules.alerts})
    for path, name, labels in wanted:
        if rules.named(name, labels):
            continue
        if name in known:
            own = next(each.rule.labels for each in rules.alerts if each.rule.alert == name)
            text = f"{name} is given only with the labels {_pairs(own)}, not {_pairs(labels)}"
        else:
            text = f"no rule is called {name}; {did_you_mean(name, known[:20], 'alerts')}"
        place = loaded.document.place_of(("spec", "drills", number, "expect", *path))
        level = Level.WARNING if path[0] == "quiet" else Level.ERROR
        yield documented.NOT_LOADED.at(place, text, level=level, span=len(name))


def _before(trial: Trial) -> list[Finding]:
    """What rules a trial out before it is made."""
    if trial.expected is not None:
        for given in trial.rules[:1]:
            watched = Watched(_rule(given, trial), trial.timing)
            early, short = too_early(trial.expected, watched), too_short(trial.drill.injection, trial.expected, watched)
            if early is not None:
                return [documented.TOO_EARLY.at(_place(trial, "within"), early.rstrip("."))]
            if short is not None:
                return [documented.TOO_SHORT.at(_injection_place(trial), short.rstrip("."))]
    reason = why_not(trial)
    return [] if reason is None else [_not_judged(trial, reason)]


def _rule(given: GivenRule, trial: Trial) -> AlertRule:
    """The rule, with what the recording rules behind it make of its reach and delay."""
    reach: dict[str, int] = {}
    delay: dict[str, int] = {}
    try:
        for each in trial.records:  # in the order in which they are made of one another
            later = max((delay.get(name, 0) for name in metrics_of(each.expression)), default=0)
            delay[each.name] = max(delay.get(each.name, 0), later + (each.interval_ms or trial.timing.evaluation_ms))
            reach[each.name] = max(reach.get(each.name, 0), _reach(each.expression, reach))
        later = max((delay.get(name, 0) for name in metrics_of(given.rule.expr)), default=0)
        return replace(given.rule, reach_ms=_reach(given.rule.expr, reach), delay_ms=later)
    except PromqlError:
        return given.rule


def _reach(expression: str, below: Mapping[str, int]) -> int:
    return reach_ms(expression, lambda selector: below.get(selector.metric or "", 0))


def _of(verdict: Verdict) -> Iterator[Finding]:
    trial = verdict.trial
    if verdict.error is not None:
        yield _failed(trial, verdict.error)
        return
    early = next((each for each in verdict.seen if _too_soon(each, trial)), None)
    if early is not None:
        yield _without_attack(trial, early)
    elif trial.expected is None:
        yield from _noisy(verdict)
    else:
        yield from _expected(verdict)


def _failed(trial: Trial, error: str) -> Finding:
    """A rule that promtool does not load is judged elsewhere; one whose evaluation fails is no error here, because a
    join may need labels that only a real scrape gives.
    """
    if not error.startswith("rule: "):
        return _not_judged(trial, f"promtool says: {error[:300]}")
    words = error.partition(", err: ")[2].partition(" rule: ")[0].rpartition(";")[2][:300]
    text = f"evaluating {trial.name} fails over the series of the drill {trial.drill.name}: {words}"
    effect = "A rule whose evaluation fails never fires; `drills run` says missed, stopped at rule-error."
    span = len(trial.name)
    return documented.DOES_NOT_FIRE.at(_place(trial, "name"), text, effect=effect, level=Level.WARNING, span=span)


def _too_soon(seen: Seen, trial: Trial) -> list[int]:
    """The evaluations at which it fires in a cluster that has settled, before or without the attack."""
    quiet = not seen.case.story.streams and seen.case.story.fault is None
    last = seen.clock.until_ms if quiet else seen.clock.attack_ms
    return [each for each in seen.firing(trial.labels) if seen.clock.settled_ms <= each <= last]


def _without_attack(trial: Trial, seen: Seen) -> Finding:
    first = format_duration(_too_soon(seen, trial)[0])
    text = f"{trial.name} fires in a healthy cluster, {first} after it came up, before anything is attacked"
    return documented.WITHOUT_ATTACK.at(_place(trial, "name"), text, span=len(trial.name))


def _noisy(verdict: Verdict) -> Iterator[Finding]:
    trial = verdict.trial
    for seen in verdict.seen:
        fired = seen.firing({})
        if fired:
            after = format_duration(fired[0] - seen.clock.attack_ms)
            text = f"{trial.name} is to stay quiet in the drill {trial.drill.name}, and fires {after} into it"
            yield documented.NOT_QUIET.at(_place(trial, "name"), text, span=len(trial.name))
            return


def _expected(verdict: Verdict) -> Iterator[Finding]:
    trial = verdict.trial
    cases = verdict.seen[1:]
    silent = [each for each in cases if not each.firing(trial.labels)]
    certain = len(trial.stories) == 1 or len(silent) == len(cases)
    if silent and not certain:
        yield _not_judged(trial, f"it fires or not by where the attack is denied ({_titles(trial)})")
    elif silent:
        yield _does_not_fire(trial, silent[0], alone=len(silent) < len(cases))
    else:
        yield from _late(trial, cases)
        yield from _lasting(trial, cases)


def _titles(trial: Trial) -> str:
    return "; ".join(each.name for each in trial.stories)


def _does_not_fire(trial: Trial, seen: Seen, *, alone: bool) -> Finding:
    from drills.check.firing.reason import reason  # noqa: PLC0415 - brings requests, and is rarely needed

    stopped = reason(trial, seen)
    when = f" in every case ({seen.case.title})" if alone else ""
    text = f"{trial.name} does not fire for the drill {trial.drill.name}{when}: {stopped.reason}"
    effect = (
        f"{trial.drill.name} goes on for {format_duration(round(trial.drill.injection.duration * 1000))} and nobody is "
        f"told; `drills run` says missed, stopped at {stopped.at}."
    )
    return documented.DOES_NOT_FIRE.at(_place(trial, "name"), text, effect=effect, span=len(trial.name))


def _late(trial: Trial, cases: Sequence[Seen]) -> Iterator[Finding]:
    assert trial.expected is not None
    times = [each.firing(trial.labels)[0] - each.clock.attack_ms for each in cases]
    worst, best = max(times), min(times)
    if worst <= trial.expected.within * 1000:
        return
    text = (
        f"{trial.name} fires {format_duration(best)} to {format_duration(worst)} after the first attempt of "
        f"{trial.drill.name}, the playbook allows {format_duration(round(trial.expected.within * 1000))}"
    )
    fix = f"Ask for `within: {format_duration(worst)}` or more, or shorten the rule's `for`."
    yield documented.TOO_LATE.at(_place(trial, "within"), text, fix=fix)


def _lasting(trial: Trial, cases: Sequence[Seen]) -> Iterator[Finding]:
    assert trial.expected is not None
    if trial.expected.resolves_within is None:
        return
    allowed = round(trial.expected.resolves_within * 1000)
    longest = max(_resolved(each, trial) for each in cases)
    if longest <= allowed:
        return
    ends = [each.firing(trial.labels)[-1] + each.clock.evaluation_ms > each.clock.until_ms for each in cases]
    fix = f"Ask for `resolvesWithin: {format_duration(longest)}` or more, or shorten the rule's range."
    if any(ends):
        told, fix = (
            "is still firing",
            "Count what happened in a range of time, such as increase(x[5m]), not since ever.",
        )
    else:
        told = f"resolves {format_duration(longest)} after the end of {trial.drill.name}"
    text = f"{trial.name} {told}, the playbook allows {format_duration(allowed)}"
    yield documented.DOES_NOT_RESOLVE.at(_place(trial, "resolvesWithin"), text, fix=fix)


def _resolved(seen: Seen, trial: Trial) -> int:
    """From the attack's end to the first evaluation without the alert, in milliseconds."""
    end = seen.clock.attack_ms + round(seen.case.story.seconds * 1000)
    return max(0, seen.firing(trial.labels)[-1] + seen.clock.evaluation_ms - end)


def _not_judged(trial: Trial, reason: str) -> Finding:
    text = f"whether {trial.name} fires for the drill {trial.drill.name} was not tried: {reason}"
    return documented.NOT_JUDGED.at(_place(trial, "name"), text, span=len(trial.name))


def _path(trial: Trial) -> KeyPath:
    return ("spec", "drills", trial.number, "expect", "quiet" if trial.expected is None else "alerts", trial.position)


def _place(trial: Trial, key: str) -> Place:
    return trial.loaded.document.place_of((*_path(trial), key))


def _injection_place(trial: Trial) -> Place:
    path = ("spec", "drills", trial.number, "inject", trial.drill.injection.kind, "duration")
    return trial.loaded.document.place_of(path)


def _pairs(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in labels.items()) + "}"
