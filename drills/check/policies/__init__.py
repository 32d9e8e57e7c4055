"""Policies of Cilium's: what the API, the operator and the agents would make of them, and what then passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from drills.check.finding import Finding, Rule
from drills.check.policies import dns, fields, given, importing, namespaces, peers, pods, requests
from drills.check.world import World

_FAMILIES: Final = (fields, importing, namespaces, peers, dns, requests, pods)
RULES: Final[tuple[Rule, ...]] = tuple(rule for family in _FAMILIES for rule in family.RULES)


def check(world: World) -> Iterator[Finding]:
    """What is wrong with the policies."""
    if not any(world.policies):
        return
    found = given.given(world)
    for family in _FAMILIES:
        yield from family.check(found)
