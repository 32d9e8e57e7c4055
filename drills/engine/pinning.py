"""Which alerts a silence hides: as few as it can. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alerts.prometheus import LoadedRule
from drills.playbook import AlertExpectation


def pins(expected: AlertExpectation, rules: Iterable[LoadedRule]) -> dict[str, str]:
    """The labels by which a silence hides an expected alert and no other: its name, what the playbook expects of it,
    and what every loaded rule that can bring it sets; a templated label may become anything.
    """
    fitting = [rule.labels for rule in rules if rule.name == expected.name and rule.may_carry(expected.labels)]
    fixed = [{(name, value) for name, value in labels.items() if "{{" not in value} for labels in fitting]
    shared = dict(set.intersection(*fixed)) if fixed else {}
    return {**shared, **expected.labels, "alertname": expected.name}


def matchers(labels: Mapping[str, str]) -> str:
    """As Alertmanager writes them: ``{alertname="X", severity="warning"}``."""
    pairs = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{pairs}}}"
