"""Which alerts a silence hides: as few as it can. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from alerts.prometheus import LoadedRule
from drills.playbook import AlertExpectation


def pins(
    expected: AlertExpectation, rules: Iterable[LoadedRule], outside: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The labels by which a silence hides an expected alert and no other: its name, what the playbook expects of it,
    and what every loaded rule that can bring it sets; a templated label may become anything.

    ``outside``: what Prometheus adds to it, see `external`.
    """
    fitting = [rule.labels for rule in rules if rule.name == expected.name and rule.may_carry(expected.labels)]
    fixed = [{(name, value) for name, value in labels.items() if "{{" not in value} for labels in fitting]
    own = {name for labels in fitting for name in labels}  # which win over those of the outside
    shared = dict(set.intersection(*fixed)) if fixed else {}
    added = {name: value for name, value in (outside or {}).items() if name not in own}
    return {**added, **shared, **expected.labels, "alertname": expected.name}


def external(configs: Sequence[str]) -> dict[str, str]:
    """The labels that all replicas of a Prometheus, by these configurations, add to every alert on its way to
    Alertmanager: they tell its alerts from those of other clusters.

    Those that relabelling may change are left out: a silence that pins too much would let the alert through.
    """
    found = [set(_external(yaml.safe_load(text) or {}).items()) for text in configs]
    return dict(set.intersection(*found)) if found else {}


def _external(config: Mapping[str, Any]) -> dict[str, str]:
    written = (config.get("global") or {}).get("external_labels") or {}
    labels = {str(name): str(value) for name, value in written.items()}
    alerting = config.get("alerting") or {}
    steps = [*(alerting.get("alert_relabel_configs") or [])]
    for one in alerting.get("alertmanagers") or []:
        steps += one.get("alert_relabel_configs") or []
    for step in steps:
        match step.get("action", "replace"):
            case "labeldrop":
                labels = {name: value for name, value in labels.items() if not _is(step, name)}
            case "labelkeep":
                labels = {name: value for name, value in labels.items() if _is(step, name)}
            case "drop" | "keep":
                continue  # the alert itself: it comes as it is or not at all
            case _:
                return {}
    return labels


def _is(step: Mapping[str, Any], name: str) -> bool:
    """Whether a label is meant; a pattern that only Go understands is taken to mean it where it would be dropped."""
    try:
        return re.fullmatch(str(step.get("regex", "(.*)")), name) is not None
    except re.error:
        return bool(step["action"] == "labeldrop")


def matchers(labels: Mapping[str, str]) -> str:
    """As Alertmanager writes them: ``{alertname="X", severity="warning"}``."""
    pairs = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{pairs}}}"
