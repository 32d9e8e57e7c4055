"""An alerting rule as a user wrote it: typed, with its place, from a PrometheusRule or a plain rule file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from drills.errors import InputError, Place
from drills.source import Document, KeyPath, load_documents
from drills.units import parse_duration

if TYPE_CHECKING:
    from alerts.prometheus import LoadedRule

_Wrong: TypeAlias = Callable[[KeyPath, str], InputError]  # an error that points at a path in the document


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One alerting rule. ``interval_ms`` is the group's own interval, None where Prometheus's global one holds.

    ``source`` names where it comes from: ``namespace/name`` of a PrometheusRule, or a file. A group's labels are
    merged into its rules. ``reach_ms`` and ``delay_ms`` are what the recording rules behind it make of its reach
    (None: it has none) and add to its delay.
    """

    alert: str
    expr: str
    for_ms: int = 0
    keep_firing_ms: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    interval_ms: int | None = None
    source: str = ""
    place: Place | None = None
    reach_ms: int | None = None
    delay_ms: int = 0

    @property
    def severity(self) -> str:
        """The ``severity`` label, if there is one."""
        return self.labels.get("severity", "")

    def digest(self) -> str:
        """sha256 over everything that decides: expression, durations, labels, group and interval."""
        text = json.dumps(
            [self.alert, self.expr, self.for_ms, self.keep_firing_ms, dict(self.labels), self.group, self.interval_ms],
            sort_keys=True,
        )
        return hashlib.sha256(text.encode()).hexdigest()


def load_rules(path: Path) -> tuple[AlertRule, ...]:
    """The alerting rules of a file of PrometheusRule manifests or of a plain rule file; SourceError if malformed."""
    return tuple(rule for document in load_documents(path) for rule in rules_of_document(document))


def rules_of_document(document: Document) -> tuple[AlertRule, ...]:
    """The alerting rules of one YAML document; none if it is neither a PrometheusRule nor a rule file."""
    data = document.data
    if not isinstance(data, dict):
        return ()
    if data.get("kind") == "PrometheusRule":
        keys: KeyPath = ("spec", "groups")
        groups = (data.get("spec") or {}).get("groups")
    elif "groups" in data and "kind" not in data:
        keys, groups = ("groups",), data["groups"]
    else:
        return ()
    return tuple(
        dataclasses.replace(rule, place=document.place_of(path))
        for path, rule in _rules(groups or [], str(document.file), keys, document.error)
    )


def rules_of_object(obj: Mapping[str, Any]) -> tuple[AlertRule, ...]:
    """The alerting rules of a PrometheusRule object; InputError where it is malformed."""
    metadata = obj.get("metadata") or {}
    source = f"{metadata.get('namespace', 'default')}/{metadata.get('name', '')}"
    groups = (obj.get("spec") or {}).get("groups") or []
    return tuple(rule for _, rule in _rules(groups, source, ("spec", "groups"), _pointing))


def rule_of_loaded(loaded: LoadedRule) -> AlertRule:
    """The rule that Prometheus runs, in its own time (in a time-lapse lab: scaled)."""
    return AlertRule(
        alert=loaded.name,
        expr=loaded.query,
        for_ms=loaded.for_ms,
        keep_firing_ms=loaded.keep_firing_ms,
        labels=loaded.labels,
        annotations=loaded.annotations,
        group=loaded.group,
        interval_ms=loaded.interval_ms or None,
        source=loaded.file,
    )


def _pointing(path: KeyPath, message: str) -> InputError:
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    return InputError(f"{where}: {message}")


def _rules(groups: Any, source: str, keys: KeyPath, wrong: _Wrong) -> Iterator[tuple[KeyPath, AlertRule]]:
    for number, group in enumerate(_listed(groups, keys, wrong)):
        rules_at = (*keys, number, "rules")
        for index, rule in enumerate(_listed(group.get("rules") or [], rules_at, wrong)):
            if "alert" in rule:
                at = (*rules_at, index)
                yield at, _rule(rule, group, source, partial(wrong, at))


def _listed(value: Any, keys: KeyPath, wrong: _Wrong) -> Sequence[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise wrong(keys, f"{keys[-1]} must be a list of mappings")
    return value


def _rule(rule: dict[str, Any], group: dict[str, Any], source: str, wrong: Callable[[str], InputError]) -> AlertRule:
    name, expr, interval = str(rule["alert"]), rule.get("expr"), group.get("interval")
    if expr is None or isinstance(expr, bool | dict | list) or not str(expr).strip():
        raise wrong(f"the rule {name} has no expression")
    try:
        return AlertRule(
            alert=name,
            expr=str(expr).strip(),
            for_ms=parse_duration(str(rule.get("for") or "0s")),
            keep_firing_ms=parse_duration(str(rule.get("keep_firing_for") or "0s")),
            labels={**_strings(group.get("labels")), **_strings(rule.get("labels"))},
            annotations=_strings(rule.get("annotations")),
            group=str(group.get("name", "")),
            interval_ms=parse_duration(str(interval)) if interval else None,
            source=source,
        )
    except ValueError as error:
        raise wrong(f"the rule {name}: {error}") from error


def _strings(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("labels and annotations must be mappings")  # noqa: TRY004 - what a user wrote, not a type error
    return {str(key): str(item) for key, item in value.items()}
