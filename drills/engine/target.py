"""Where a run takes place: the Kubernetes API, where alerts are read, and how fast the clock runs.

Nothing here knows a lab: a target's clock scale stands in ConfigMap kube-system/drills-lab, which a real cluster does
not have (K = 1). What the lab is told apart by is only its name in the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alerts.alertmanager import Alertmanager
from alerts.prometheus import Prometheus
from alerts.receiver import Receiver
from drills.engine.watch import ANSWER_SECONDS, Sources
from drills.errors import WorldError
from drills.kube import Cluster

CLOCK = ("kube-system", "drills-lab", "timeLapse")


@dataclass(frozen=True, slots=True)
class Addresses:
    """URLs of what watches the target; a receiver that can be asked is rare outside the lab."""

    prometheus: str
    alertmanager: str | None
    receiver: str | None
    replicas: tuple[str, ...] = ()  # the others of a highly available Prometheus


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster and its clock. ``time_lapse`` is K: one second on the wall is K seconds of playbook time."""

    kind: Literal["lab", "cluster"]
    name: str
    cluster: Cluster
    addresses: Addresses
    time_lapse: float

    def wall(self, playbook_seconds: float) -> float:
        """Seconds on the wall."""
        return playbook_seconds / self.time_lapse

    def playbook(self, wall_seconds: float) -> float:
        """Seconds of playbook time."""
        return wall_seconds * self.time_lapse

    def sources(self, timeout: float = ANSWER_SECONDS) -> Sources:
        """Fresh clients for one thread; ``timeout`` in wall seconds."""
        where = self.addresses
        return Sources(
            prometheus=Prometheus(where.prometheus, timeout=timeout),
            alertmanager=None if where.alertmanager is None else Alertmanager(where.alertmanager, timeout=timeout),
            receiver=None if where.receiver is None else Receiver(where.receiver, timeout=timeout),
            replicas=tuple(Prometheus(one, timeout=timeout) for one in where.replicas),
        )


def connect(
    kind: Literal["lab", "cluster"],
    addresses: Addresses,
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
) -> Target:
    """A target that answers; WorldError with one sentence if its API or its Prometheus does not."""
    cluster = Cluster.connect(kubeconfig=kubeconfig, context=context)
    namespace, name, key = CLOCK
    data = cluster.config_map(namespace, name) or {}
    target = Target(kind, cluster.name, cluster, addresses, _scale(data.get(key, "1")))
    for sources in target.sources().each():
        sources.prometheus.buildinfo()
    return target


def _scale(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 1 <= scale <= 1000:
        raise WorldError(f"ConfigMap {CLOCK[0]}/{CLOCK[1]} says {CLOCK[2]}: {text!r}, which is no time-lapse.")
    return scale
