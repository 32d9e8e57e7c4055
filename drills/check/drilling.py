"""Playbooks, rules and manifests together: what every drill would meet, and whether its alerts would tell of it."""

from __future__ import annotations

from collections.abc import Iterator

from drills.check import coverage
from drills.check.delivery.configs import configs_of
from drills.check.delivery.findings import deliveries, invalid
from drills.check.finding import Finding
from drills.check.firing.findings import try_all
from drills.check.firing.written import write
from drills.check.given import rules_of
from drills.check.predict.cluster import Cluster
from drills.check.predict.findings import predictions
from drills.check.world import World


def check(world: World) -> Iterator[Finding]:
    """Everything about drills and where their alerts go. WorldError if promtool is needed and missing."""
    configs = configs_of(world)
    yield from invalid(configs)
    if not world.playbooks and world.options.min_coverage is None:
        return
    rules, cluster = rules_of(world), Cluster.of(world)
    yield from predictions(world, cluster)
    tried = try_all(world, rules, cluster)
    yield from tried.findings
    if world.options.write_tests is not None:
        write(tried.good, world.options.write_tests)
    yield from deliveries(world, rules, configs, tried.verdicts)
    yield from coverage.findings(world, rules, coverage.coverage(world, rules, cluster))
