"""Prometheus's configuration and command line in the lab's time.

Start it first: its first scrape comes 5 to 6 s after the start (service discovery's throttle, which no flag
changes), and nothing else in the lab takes that long.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from drills.lab.daemons import Daemons
from drills.lab.monitoring.settings import (
    EVALUATION_MS,
    FOR_GRACE_MS,
    FOR_OUTAGE_MS,
    LOOKBACK_MS,
    RESEND_DELAY_MS,
    SCRAPE_MS,
    MonitoringSettings,
)

NAME = "prometheus"  # as a daemon
_SCRAPE_TIMEOUT_MS = 10_000  # on the wall: a scrape takes as long as it takes


def rules_directory(settings: MonitoringSettings) -> Path:
    """Where the rule files lie, one for each PrometheusRule object."""
    return settings.directory / "rules"


def config_file(settings: MonitoringSettings) -> Path:
    """Prometheus's configuration file."""
    return settings.directory / "prometheus.yml"


def config(settings: MonitoringSettings) -> str:
    """The text of the configuration."""
    data: dict[str, Any] = {
        "global": {
            "scrape_interval": settings.scaled(SCRAPE_MS),
            "scrape_timeout": f"{min(_SCRAPE_TIMEOUT_MS, SCRAPE_MS // settings.k)}ms",
            "evaluation_interval": settings.scaled(EVALUATION_MS),
        },
        "rule_files": [str(rules_directory(settings) / "*.yaml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [str(settings.alertmanager)]}]}]},
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [
                    {"targets": [str(target.address)], "labels": dict(target.labels)} for target in targets
                ],
            }
            for job, targets in groupby(settings.targets, key=lambda target: target.job)
        ],
    }
    return yaml.safe_dump(data, sort_keys=False)


async def start(settings: MonitoringSettings, daemons: Daemons) -> None:
    """Write the configuration and start Prometheus, unless it runs. WorldError if the program is missing."""
    if daemons.running(NAME):
        return
    rules_directory(settings).mkdir(parents=True, exist_ok=True)
    config_file(settings).write_text(config(settings))
    await daemons.start(NAME, command(settings), cwd=settings.directory)


def command(settings: MonitoringSettings) -> list[str]:
    """The command line; Prometheus's own defaults, divided by K."""
    return [
        "prometheus",
        f"--config.file={config_file(settings)}",
        f"--storage.tsdb.path={settings.directory / 'prometheus'}",
        f"--web.listen-address={settings.prometheus}",
        "--web.enable-lifecycle",
        f"--query.lookback-delta={settings.scaled(LOOKBACK_MS)}",
        f"--rules.alert.resend-delay={settings.scaled(RESEND_DELAY_MS)}",
        f"--rules.alert.for-grace-period={settings.scaled(FOR_GRACE_MS)}",
        f"--rules.alert.for-outage-tolerance={settings.scaled(FOR_OUTAGE_MS)}",
    ]
