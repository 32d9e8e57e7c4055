"""Where a run takes place: the Kubernetes API, where alerts are read, and how fast the clock runs.

Nothing here knows a lab: a target's clock scale stands in ConfigMap kube-system/drills-lab, which a real cluster does
not have (K = 1). What the lab is told apart by is only its name in the report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from alerts.alertmanager import Alertmanager
from alerts.http_config import HttpConfig, checked
from alerts.prometheus import Prometheus
from alerts.receiver import Receiver
from drills.budget import ONCE, Budget
from drills.engine.watch import ANSWER_SECONDS, Sources
from drills.errors import InputError, WorldError
from drills.kube import Cluster
from drills.kube.proxy import PREFIX, ServiceAddress
from drills.reach import Reach

BUDGET = Budget(tries=4, seconds=6.0, answer=3.0)  # where nobody counts the seconds
CLOCK = ("kube-system", "drills-lab", "timeLapse")
CAPACITY = "maxRequestsPerSecond"  # in the same ConfigMap: what the target carries, on the wall


@dataclass(frozen=True, slots=True)
class Addresses:
    """What watches the target: URLs, or Services of its own (``service:NAMESPACE/NAME:PORT``), with who asks.

    A receiver that can be asked is rare outside the lab.
    """

    prometheus: str
    alertmanager: str | None
    receiver: str | None
    prometheus_http: HttpConfig = field(default_factory=HttpConfig)
    alertmanager_http: HttpConfig = field(default_factory=HttpConfig)
    replicas: tuple[str, ...] = ()  # the others of a highly available Prometheus

    def check(self) -> None:
        """InputError for what is no address, and for credentials that could not arrive."""
        every = (
            *(("--prometheus", address, self.prometheus_http) for address in (self.prometheus, *self.replicas)),
            ("--alertmanager", self.alertmanager, self.alertmanager_http),
        )
        for option, address, http in every:
            if address is not None:
                check_address(option, address, credentials=not http.empty)


def check_address(option: str, address: str, *, credentials: bool) -> None:
    """InputError for what is no address, and for ``credentials`` that could not arrive there."""
    if not address.startswith(PREFIX):
        checked(address)
        return
    ServiceAddress.parse(address)
    if credentials:
        raise InputError(
            f"{option}-http-config: a Service is reached with the Kubernetes API's own credentials, and others "
            f"do not get through; leave it out, or give {option} a URL."
        )


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster and its clock. ``time_lapse`` is K: one second on the wall is K seconds of playbook time."""

    kind: Literal["lab", "cluster"]
    name: str
    cluster: Cluster
    addresses: Addresses
    time_lapse: float
    capacity: float | None = None  # requests a second of the wall that it carries; None: not known
    budget: Budget = BUDGET  # of questions to Prometheus and Alertmanager

    def wall(self, playbook_seconds: float) -> float:
        """Seconds on the wall."""
        return playbook_seconds / self.time_lapse

    def playbook(self, wall_seconds: float) -> float:
        """Seconds of playbook time."""
        return wall_seconds * self.time_lapse

    def sources(self) -> Sources:
        """Fresh clients for one thread; what fails in passing is asked again."""
        return self._sources(self.budget.answer, self.budget)

    def poll_sources(self) -> Sources:
        """The same for whoever asks again anyway, or needs to know when exactly an answer was given: never repeated."""
        return self._sources(ANSWER_SECONDS, ONCE)

    def _sources(self, timeout: float, budget: Budget) -> Sources:
        at = self.addresses
        first, *others = (
            Prometheus(way_to(self.cluster, one, at.prometheus_http), timeout=timeout, budget=budget)
            for one in (at.prometheus, *at.replicas)
        )
        alertmanager, receiver = None, None
        if (way := self.way_to_alertmanager()) is not None:
            alertmanager = Alertmanager(way, timeout=timeout, budget=budget)
        if at.receiver is not None:
            receiver = Receiver(at.receiver, timeout=timeout, budget=budget)
        return Sources(first, alertmanager, receiver, tuple(others))

    def way_to_alertmanager(self) -> Reach | None:
        """Its address with who asks; None where none was named."""
        at = self.addresses
        return None if at.alertmanager is None else way_to(self.cluster, at.alertmanager, at.alertmanager_http)


def way_to(cluster: Cluster, address: str, http: HttpConfig) -> Reach:
    """To a URL with these credentials, or to a Service of the cluster with the API's own. InputError for no address."""
    if address.startswith(PREFIX):
        return cluster.through(ServiceAddress.parse(address))
    return http.reach(address)


def connect(
    kind: Literal["lab", "cluster"],
    addresses: Addresses,
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    in_cluster: bool = False,
) -> Target:
    """A target that answers; WorldError with one sentence if its API or its Prometheus does not.

    InputError for addresses that are none. ``in_cluster``: as the service account of the pod that this runs in.
    """
    addresses.check()
    cluster = Cluster.connect(kubeconfig=kubeconfig, context=context, in_cluster=in_cluster)
    namespace, name, key = CLOCK
    data = cluster.config_map(namespace, name) or {}
    scale, capacity = _scale(data.get(key, "1")), _capacity(data.get(CAPACITY))
    target = Target(kind, cluster.name, cluster, addresses, scale, capacity)
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


def _capacity(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise WorldError(f"ConfigMap {CLOCK[0]}/{CLOCK[1]} says {CAPACITY}: {text!r}, which is no number.") from None
