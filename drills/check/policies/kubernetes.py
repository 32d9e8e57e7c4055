"""Kubernetes NetworkPolicies beside Cilium's, as far as lookups go: Cilium enforces both, and they add up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from drills.check.world import DEFAULT_NAMESPACE, Manifest, mapping, mappings
from drills.cilium.labels import Labels
from drills.cilium.parts import LabelSelector
from drills.cilium.selector import Selector, subject_selector

_PORT = 53


@dataclass(frozen=True, slots=True)
class AllowsLookups:
    """The pods of a NetworkPolicy that allows port 53 to somebody; who that is, is not looked at."""

    subject: Selector


def lookups(policies: Iterable[Manifest]) -> Iterator[AllowsLookups]:
    """Of the NetworkPolicies among some objects, those that allow lookups."""
    for each in policies:
        spec = mapping(each.data.get("spec"))
        if each.group == "networking.k8s.io" and any(_reaches(rule) for rule in mappings(spec.get("egress"))):
            try:
                selector = LabelSelector.model_validate(spec.get("podSelector") or {})
            except ValidationError:  # the API does not store it
                continue
            yield AllowsLookups(subject_selector(selector, each.namespace or DEFAULT_NAMESPACE))


def may_look_up(policies: Iterable[AllowsLookups], labels: Labels) -> bool:
    """Whether one of the policies allows lookups to pods with these labels."""
    return any(each.subject.matches(labels) for each in policies)


def _reaches(rule: Any) -> bool:
    """Whether a rule of ``egress`` is about port 53; a rule without ports is about every port."""
    ports = rule.get("ports")
    return not ports or any(_is_dns(each) for each in mappings(ports))


def _is_dns(port: Any) -> bool:
    number, last = port.get("port"), port.get("endPort")
    if port.get("protocol") not in (None, "TCP", "UDP"):
        return False
    if not isinstance(number, int):  # every port, or one by its name
        return number is None or str(number).startswith("dns")
    return number <= _PORT <= (last if isinstance(last, int) else number)
