"""Where the lab's monitoring listens, what it scrapes, and how fast its clock runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drills.errors import InputError
from drills.lab import plan

SCRAPE_MS = 15_000  # S and E in playbook time
EVALUATION_MS = 15_000
LOOKBACK_MS = 300_000  # Prometheus's own defaults from here on
RESEND_DELAY_MS = 60_000
FOR_GRACE_MS = 600_000
FOR_OUTAGE_MS = 3_600_000

PROMETHEUS_PORT = 9090
ALERTMANAGER_PORT = 9093
RECEIVER_PORT = 9094


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"http://{self}"


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """One target of a scrape job."""

    job: str
    address: Address
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MonitoringSettings:
    """What monitoring is started with. ``k`` is the time-lapse; ``directory`` holds data and configuration."""

    k: int
    directory: Path
    prometheus: Address
    alertmanager: Address
    receiver: Address
    targets: tuple[ScrapeTarget, ...]

    def __post_init__(self) -> None:
        if self.k < 1 or SCRAPE_MS % self.k:
            raise InputError(
                f"The time-lapse {self.k} does not divide the scrape interval of {SCRAPE_MS} ms into whole "
                "milliseconds: take 1, 5, 10, 12, 15, 20, 30 or 60."
            )

    def scaled(self, ms: int) -> str:
        """A duration of playbook time as Prometheus reads it, in the lab's time."""
        return f"{max(1, round(ms / self.k))}ms"


def of_lab(k: int, directory: Path = plan.RUN / "monitoring") -> MonitoringSettings:
    """Monitoring as the lab has it: in the underlay, scraping the agents of both nodes."""
    host = str(plan.SUPERVISOR)
    ports = {"cilium-agent": plan.AGENT_METRICS_PORT, "hubble": plan.HUBBLE_METRICS_PORT}
    targets = tuple(
        ScrapeTarget(job, Address(str(address), port), {"node": node})
        for job, port in ports.items()
        for node, address in plan.NODES.items()
    )
    return MonitoringSettings(
        k=k,
        directory=directory,
        prometheus=Address(host, PROMETHEUS_PORT),
        alertmanager=Address(host, ALERTMANAGER_PORT),
        receiver=Address(host, RECEIVER_PORT),
        targets=targets,
    )
