"""Alert rules, and the guards of playbooks: does it load, and can it ever fire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from alerts import catalog
from drills.check.alerting import counting, grouping, groups, impossible, known, loading, selection, standing, windows
from drills.check.alerting.groups import RuleAt
from drills.check.alerting.occurrences import occurrences
from drills.check.finding import Finding
from drills.check.world import World
from drills.cilium.release import text_of

RULES = (
    *loading.RULES,
    *known.RULES,
    *grouping.RULES,
    *counting.RULES,
    *windows.RULES,
    *impossible.RULES,
    *standing.RULES,
    *selection.RULES,
)


def check(world: World) -> Iterator[Finding]:
    """Everything about the given rules and guards that can be told from their files and the metric catalogue."""
    rules = [*groups.rules(world), *groups.guards(world)]
    yield from selection.check(world)
    yield from loading.check(world, rules, lambda: _firing(world, rules))


def _firing(world: World, rules: Sequence[RuleAt]) -> Iterator[Finding]:
    """Whether they can ever fire."""
    if not rules:
        return
    catalogue = catalog.of_version(text_of(world.options.release))
    if world.options.catalog is not None:
        catalogue = catalog.extended(catalogue, Path(world.options.catalog))
    recorded = {str(rule.data["record"]) for rule in rules if isinstance(rule.data.get("record"), str)}
    by_rule = [occurrences(rule) for rule in rules]
    found = [each for mine in by_rule for each in mine]
    if world.options.prometheus is None:
        yield from known.check(found, catalogue, recorded)
    else:
        from drills.check.alerting import live  # noqa: PLC0415 - the HTTP client takes longer to import than all the rest

        yield from live.check(found, catalogue, recorded, world.options.prometheus)
    yield from grouping.check(found, catalogue, recorded)
    yield from counting.check(found, catalogue, recorded)
    yield from windows.check(rules, windows.windows_of(world, rules, by_rule, catalogue))
    yield from impossible.check(rules, catalogue)
    yield from standing.check(rules, catalogue, recorded)
