"""Playbooks, rules and manifests together: what every drill would meet, and whether its alerts would tell of it."""

from __future__ import annotations

from collections.abc import Iterator

from drills.check.finding import Finding
from drills.check.firing.findings import try_all
from drills.check.given import rules_of
from drills.check.predict.cluster import Cluster
from drills.check.predict.findings import predictions
from drills.check.world import World


def check(world: World) -> Iterator[Finding]:
    """Everything about drills. WorldError if promtool is needed and missing."""
    if not world.playbooks:
        return
    rules, cluster = rules_of(world), Cluster.of(world)
    yield from predictions(world, cluster)
    tried = try_all(world, rules, cluster)
    yield from tried.findings
