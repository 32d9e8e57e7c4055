"""What a user decides about a deployment, and the few words that all its objects share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from drills.kube.lease import NAMESPACE
from drills.kube.pods import own_image

Obj: TypeAlias = dict[str, Any]

PART_OF: Final = {"app.kubernetes.io/name": "drills", "app.kubernetes.io/managed-by": "drills"}
WHY: Final = "drills/why"  # annotation: what an object is for, for people


@dataclass(frozen=True, slots=True)
class Settings:
    """``timezone``: of the schedules. ``rule_labels``: what the Prometheus Operator's ruleSelector wants."""

    namespace: str = NAMESPACE
    service_account: str | None = None  # None: one for each playbook, of its name
    image: str = field(default_factory=own_image)
    prometheus: str = "http://prometheus-operated.monitoring:9090"
    alertmanager: str = "http://alertmanager-operated.monitoring:9093"  # empty: none
    pushgateway: str = "http://prometheus-pushgateway.monitoring:9091"  # where metrics go; empty: nowhere
    timezone: str = "Etc/UTC"
    rule_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def watched(self) -> list[str]:
        """The addresses that alerts are read from."""
        return [one for one in (self.prometheus, self.alertmanager) if one]

    @property
    def reached(self) -> list[str]:
        """Every address that the runner goes to."""
        return [*self.watched, *([self.pushgateway] if self.pushgateway else [])]

    def account(self, playbook: str) -> str:
        """The service account that runs a playbook."""
        return self.service_account or title(playbook)


def title(playbook: str) -> str:
    """The name of what belongs to a playbook."""
    return f"drills-{playbook}"


def labels_of(playbook: str) -> dict[str, str]:
    """The labels of what belongs to a playbook."""
    return {**PART_OF, "drills/playbook": playbook}


def obj(
    api_version: str,
    kind: str,
    name: str,
    namespace: str | None,
    labels: Mapping[str, str],
    *,
    why: str | None = None,
    **rest: Any,
) -> Obj:
    """An object with its metadata in the order in which people read it."""
    metadata: Obj = {"name": name} | ({"namespace": namespace} if namespace is not None else {})
    metadata["labels"] = dict(labels)
    if why is not None:
        metadata["annotations"] = {WHY: why}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
