"""Alert rules: does it load, and can it ever fire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alerts import catalog
from drills.check.alerting import counting, groups, impossible, known, loading, selection
from drills.check.alerting.occurrences import occurrences
from drills.check.finding import Finding
from drills.check.world import World

RULES = (*loading.RULES, *known.RULES, *counting.RULES, *impossible.RULES, *selection.RULES)


def check(world: World) -> Iterator[Finding]:
    """Everything about the given rules that can be told from their files and the metric catalogue."""
    rules = list(groups.rules(world))
    loaded = loading.load(world, rules)
    yield from loaded.findings
    yield from selection.check(world)
    if not rules:
        return
    catalogue = catalog.of_version(world.options.cilium)
    if world.options.catalog is not None:
        catalogue = catalog.extended(catalogue, Path(world.options.catalog))
    recorded = {str(rule.data["record"]) for rule in rules if isinstance(rule.data.get("record"), str)}
    taken = [rule for rule in rules if id(rule.data) not in loaded.refused]
    found = [each for rule in taken for each in occurrences(rule)]
    yield from known.check(found, catalogue, recorded)
    yield from counting.check(found, catalogue, recorded)
    yield from impossible.check(taken, catalogue)
