"""Where each expected alert would go, as findings at the playbook's expectation.

The labels are those with which promtool saw the alert fire; where it was not tried, the rule's own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from alerts.inhibition import inhibitions
from alerts.routing import Route, routes_in
from drills.check.delivery import rules as documented
from drills.check.delivery.bystanders import Fired, bystanders
from drills.check.delivery.configs import Config
from drills.check.delivery.expected import Expected
from drills.check.finding import Finding
from drills.check.firing.judge import Verdict
from drills.check.given import Rules
from drills.check.world import World
from drills.playbook import AlertExpectation

_HOUR: Final = 3600.0
_YEAR_HOURS: Final = range(0, 366 * 24, 5)  # every fifth hour comes by every hour of the day and every weekday


def invalid(configs: Sequence[Config]) -> Iterator[Finding]:
    """Configurations that Alertmanager would not load, or only a newer one than the amtool that judges here."""
    for config in configs:
        for place, text in config.doubts:
            yield documented.NEWER.at(place, text)
        if config.wrong is not None:
            place, text = config.wrong
            yield documented.INVALID.at(place, text)


def deliveries(world: World, rules: Rules, configs: Sequence[Config], verdicts: Sequence[Verdict]) -> Iterator[Finding]:
    """What would keep expected alerts from those who must hear of them. WorldError if promtool is missing."""
    good = [each for each in configs if each.wrong is None]
    expected = list(_expected(world, rules, verdicts)) if good else []
    beside = bystanders(rules, good, expected, verdicts)
    for config in good:
        for one in expected:
            yield from _routed(config, one)
            others = [(f"which the drill {one.drill.name} expects as well", each.spec.name, each.labels)
                      for each in expected if each.drill_key == one.drill_key and each is not one]  # fmt: skip
            others += [(_why(each, one), each.name, each.labels) for each in beside.get(one.drill_key, ())]
            yield from _inhibited(config, one, others)


def _why(fired: Fired, one: Expected) -> str:
    return "as it does in a healthy cluster" if fired.always else f"as it does during the drill {one.drill.name}"


def _expected(world: World, rules: Rules, verdicts: Sequence[Verdict]) -> Iterator[Expected]:
    seen = {(id(each.trial.loaded), each.trial.number, each.trial.position): each for each in verdicts
            if each.trial.expected is not None}  # fmt: skip
    for loaded in world.playbooks:
        for number, drill in enumerate(loaded.playbook.drills):
            for position, spec in enumerate(drill.expect.alerts):
                labels = _fired(seen.get((id(loaded), number, position)), spec)
                labels = labels or [
                    {**each.rule.labels, **spec.labels, "alertname": spec.name}
                    for each in rules.named(spec.name, spec.labels)
                ]
                yield Expected(loaded, number, drill, position, spec, labels)


def _fired(verdict: Verdict | None, spec: AlertExpectation) -> list[dict[str, str]]:
    """The label sets that fired as expected."""
    if verdict is None:
        return []
    found = {
        labels: None
        for seen in verdict.seen
        for labels, states in seen.states.items()
        if "firing" in states.values() and spec.labels.items() <= dict(labels).items()
    }
    return [dict(each) for each in found]


def _routed(config: Config, one: Expected) -> Iterator[Finding]:
    for labels in one.labels:
        routes = routes_in(config.data, labels, time.time())
        taken = ", ".join(each.receiver for each in routes)
        wanted = [each for each in routes if one.spec.receiver in (None, each.receiver)]
        where = f"{one.spec.name}{_with(labels)} is routed to {taken or 'nobody'}"
        if not wanted:
            yield documented.WRONG_RECEIVER.at(one.place("receiver"), f"{where}, not to {one.spec.receiver}")
        elif not any(each.integrations for each in wanted):
            yield documented.NO_RECEIVER.at(one.place("name"), f"{where}, which sends nothing", span=len(one.spec.name))
        elif _muted_always(config, labels, wanted):
            text = f"{where}, and that route is muted at all times"
            yield documented.MUTED_ALWAYS.at(one.place("name"), text, span=len(one.spec.name))
        else:
            continue
        return


def _muted_always(config: Config, labels: Mapping[str, str], routes: Sequence[Route]) -> bool:
    if not all(each.muted_by for each in routes):
        return False
    names = {each.receiver for each in routes}
    now = time.time()
    try:
        return all(
            all(each.muted_by for each in routes_in(config.data, labels, now + hour * _HOUR) if each.receiver in names)
            for hour in _YEAR_HOURS
        )
    except (ValueError, TypeError, AttributeError, KeyError):  # an interval that amtool was not there to refuse
        return False


def _inhibited(
    config: Config, one: Expected, others: Sequence[tuple[str, str, Sequence[Mapping[str, str]]]]
) -> Iterator[Finding]:
    """By another alert that fires because of the same drill."""
    pairs = (
        (why, name, target, source) for why, name, sources in others for target in one.labels for source in sources
    )
    for why, name, target, source in pairs:
        found = next(inhibitions(config.data, target, source), None)
        if found is None:
            continue
        place = config.place("inhibit_rules", found.number)
        text = f"{one.spec.name} is muted while {name} fires, {why} (inhibit_rules, {place.file}:{place.line})"
        effect = documented.INHIBITED.effect
        if found.missing:
            effect = f"Neither alert has the label {', '.join(found.missing)}, which counts as equal. {effect}"
        yield documented.INHIBITED.at(one.place("name"), text, effect=effect, span=len(one.spec.name))
        return


def _with(labels: Mapping[str, str]) -> str:
    pairs = ", ".join(f"{key}={value}" for key, value in labels.items() if key != "alertname")
    return f" with {{{pairs}}}" if pairs else ""
