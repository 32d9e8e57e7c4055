"""The lab's monitoring as one part: started first, ready last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from drills.errors import WorldError
from drills.lab.api.store import Store
from drills.lab.daemons import Daemons
from drills.lab.monitoring import alertmanager, prometheus
from drills.lab.monitoring.operator import RuleOperator
from drills.lab.monitoring.receiver import Receiver
from drills.lab.monitoring.reload import get_json, wait_ready
from drills.lab.monitoring.routes import RouteOperator
from drills.lab.monitoring.settings import Address, MonitoringSettings

log = logging.getLogger("drills.lab.monitoring")

PROMETHEUS, ALERTMANAGER = prometheus.NAME, "alertmanager"  # their names as daemons
_READY_SECONDS = 30.0  # 5 to 6 on an idle machine, Prometheus's own throttle
_POLL = 0.05


class Monitoring:
    """Prometheus, Alertmanager, the receiver, and the operators that feed them from the store."""

    def __init__(self, store: Store, settings: MonitoringSettings, daemons: Daemons) -> None:
        self._settings = settings
        self._daemons = daemons
        self._receiver = Receiver()
        self._runner: web.AppRunner | None = None
        self.rules = RuleOperator(store, settings)
        self.routes = RouteOperator(store, settings)

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Where each part listens: ``prometheus``, ``alertmanager``, ``receiver``."""
        at = self._settings
        return {"prometheus": at.prometheus, "alertmanager": at.alertmanager, "receiver": at.receiver}

    async def start(self) -> None:
        """Start everything and return before it is ready. WorldError for a missing program or a port in use."""
        await prometheus.start(self._settings, self._daemons)  # the supervisor may have done it already
        await self.rules.start()
        await self._listen()
        await self.routes.start()
        await self._start_daemon(ALERTMANAGER, alertmanager.command(self._settings))

    async def ready(self) -> None:
        """Wait until every target is up, Alertmanager is known to Prometheus and the rules are loaded.

        WorldError, naming what is missing, after half a minute.
        """
        waits_for = "Prometheus"
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await wait_ready("Prometheus", self._settings.prometheus.url)
                waits_for = "Alertmanager"
                await wait_ready("Alertmanager", self._settings.alertmanager.url)
                while waits_for := await self._missing():
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise WorldError(
                f"The lab's monitoring was not ready after {_READY_SECONDS:g} s: it waits for {waits_for}."
            ) from None

    async def stop(self) -> None:
        """End what `start` started."""
        await asyncio.gather(self.rules.stop(), self.routes.stop())
        await asyncio.gather(self._daemons.stop(PROMETHEUS), self._daemons.stop(ALERTMANAGER))
        if self._runner is not None:
            await self._runner.cleanup()

    async def _start_daemon(self, name: str, command: list[str]) -> None:
        await self._daemons.start(name, command, cwd=self._settings.directory)

    async def _listen(self) -> None:
        runner = web.AppRunner(self._receiver.app(), access_log=None)
        await runner.setup()
        at = self._settings.receiver
        try:
            await web.TCPSite(runner, at.host, at.port).start()
        except OSError as error:
            await runner.cleanup()
            raise WorldError(f"The lab's receiver cannot listen on {at}: {error.strerror}.") from error
        self._runner = runner

    async def _missing(self) -> str:
        """What is not there yet, for a sentence; the empty text when all is."""
        if not self.rules.synced.is_set():
            return "the rules"
        base = self._settings.prometheus.url
        targets = _data(await get_json(f"{base}/api/v1/targets?state=active")).get("activeTargets") or []
        up = {
            target["scrapePool"] + " " + target["labels"]["instance"] for target in targets if target["health"] == "up"
        }
        wanted = {f"{target.job} {target.address}" for target in self._settings.targets}
        if wanted - up:
            return f"the first scrape of {', '.join(sorted(wanted - up))}"
        if not _data(await get_json(f"{base}/api/v1/alertmanagers")).get("activeAlertmanagers"):
            return "Prometheus to find Alertmanager"
        return ""


def _data(answer: Any) -> dict[str, Any]:
    return answer.get("data") or {} if isinstance(answer, dict) else {}
