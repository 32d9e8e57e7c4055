"""Metrics to a Pushgateway: they stay there until the next run, which is what a CronJob needs."""

from __future__ import annotations

from urllib.error import URLError

from prometheus_client import pushadd_to_gateway

from drills.engine.publications import ANSWER_SECONDS
from drills.engine.result import Result
from drills.errors import WorldError
from drills.publish.base import Announced
from drills.publish.metrics import registry_of


class Pushgateway:
    """One Pushgateway. What is pushed replaces metrics of the same name and playbook, and no others: the time of the
    last success outlives a failure (https://github.com/prometheus/pushgateway, "POST method").
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def started(self, run: Announced) -> None:
        """Nothing to tell yet."""

    def finished(self, run: Announced, result: Result) -> None:
        """WorldError where it does not take them."""
        del run
        group = {"playbook": result.playbook}
        try:
            pushadd_to_gateway(self._url, "drills", registry_of([result]), grouping_key=group, timeout=ANSWER_SECONDS)
        except (URLError, OSError, ValueError) as error:
            raise WorldError(f"The metrics could not be pushed to {self._url}: {error}") from error

    def close(self) -> None:
        """Nothing is open."""
