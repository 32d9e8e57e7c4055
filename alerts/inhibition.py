"""Alertmanager's inhibition, read from its configuration: which alert would mute which.

Alertmanager 0.25 inhibit/inhibit.go (``InhibitRule.hasEqual``, ``Inhibitor.Mutes``): a rule mutes an alert that its
target matchers match, while an alert fires that its source matchers match and that has the same value for every label
of ``equal``. A label that is missing is as good as an empty one: where both lack it, it is equal. An alert that both
sides of a rule match is muted only by one that the target side does not match, so that it never mutes itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alerts.routing import holds, matchers_in


@dataclass(frozen=True, slots=True)
class Inhibition:
    """A rule of ``inhibit_rules`` that mutes an alert; ``missing`` are labels of ``equal`` that both alerts lack."""

    number: int
    equal: tuple[str, ...]
    missing: tuple[str, ...]


def inhibitions(
    config: Mapping[str, Any], target: Mapping[str, str], source: Mapping[str, str]
) -> Iterator[Inhibition]:
    """The rules by which a firing alert with the labels ``source`` mutes one with the labels ``target``."""
    for number, rule in enumerate(config.get("inhibit_rules") or []):
        if not _matches(rule, "target", target) or not _matches(rule, "source", source):
            continue
        if _matches(rule, "source", target) and _matches(rule, "target", source):
            continue
        equal = tuple(str(each) for each in rule.get("equal") or ())
        if all(target.get(each, "") == source.get(each, "") for each in equal):
            yield Inhibition(number, equal, tuple(each for each in equal if not target.get(each)))


def could_mute(config: Mapping[str, Any], target: Mapping[str, str], source: Mapping[str, str]) -> bool:
    """Whether some rule may mute the target while an alert fires that has the labels ``source`` and perhaps others."""
    return any(
        _matches(rule, "target", target) and _may_match(rule, source) for rule in config.get("inhibit_rules") or []
    )


def _may_match(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    found = matchers_in(rule, "source_match", "source_match_re", "source_matchers")
    return all(holds(labels[name], operator, value) for name, operator, value in found if name in labels)


def _matches(rule: Mapping[str, Any], side: str, labels: Mapping[str, str]) -> bool:
    found = matchers_in(rule, f"{side}_match", f"{side}_match_re", f"{side}_matchers")
    return all(holds(labels.get(name, ""), operator, value) for name, operator, value in found)
