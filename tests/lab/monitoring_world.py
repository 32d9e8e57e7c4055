"""Monitoring, its store and a scrape target with counters, on loopback, in an event loop of their own thread."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from alerts.alertmanager import Alertmanager
from alerts.prometheus import Prometheus
from alerts.receiver import Receiver
from drills.lab.api.resources import CONFIGMAPS, EVENTS, NAMESPACES, PROMETHEUS_RULES
from drills.lab.api.store import Store
from drills.lab.daemons import Daemons
from drills.lab.monitoring.monitoring import Monitoring
from drills.lab.monitoring.settings import Address, MonitoringSettings, ScrapeTarget

K = 60  # 250 ms of scrape interval
T = TypeVar("T")


def free_address() -> Address:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", listener.getsockname()[1])


class World:
    """Monitoring, its store and a scrape target with counters, in an event loop of their own thread."""

    def __init__(self, directory: Path, k: int = K, interval: str = "", **rules: Sequence[dict[str, Any]]) -> None:
        """``rules`` are PrometheusRule objects by name that are there from the start: no reload, which would make
        Prometheus forget its Alertmanagers until the next tick of discovery. ``interval`` is that of their groups.
        """
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.values: dict[str, float | str] = {'denied_total{rule="denied"}': 0.0, "quiet_total": 0.0}
        self.interval = interval
        self.store = Store()
        for name in ("default", "monitoring"):
            self.store.create(NAMESPACES, {"metadata": {"name": name}})
        self.settings = MonitoringSettings(
            k=k,
            directory=directory / "monitoring",
            prometheus=free_address(),
            alertmanager=free_address(),
            receiver=free_address(),
            targets=(ScrapeTarget("app", free_address(), {"node": "n1"}),),
        )
        self.daemons = Daemons(directory / "log")
        for name, some in rules.items():
            self.create_rules(name, *some)
        self.run(self._start())
        self.prometheus = Prometheus(self.settings.prometheus.url)
        self.alertmanager = Alertmanager(self.settings.alertmanager.url)
        self.receiver = Receiver(self.settings.receiver.url)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        target = self.settings.targets[0].address
        await web.TCPSite(self.runner, target.host, target.port).start()
        self.monitoring = Monitoring(self.store, self.settings, self.daemons)
        await self.monitoring.start()
        await self.monitoring.ready()

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text="".join(f"{name} {value}\n" for name, value in self.values.items()))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        async def work() -> T:
            return function(*arguments)

        return self.run(work())

    def create_rules(self, name: str, *rules: dict[str, Any]) -> None:
        group = {"name": name, "rules": list(rules)} | ({"interval": self.interval} if self.interval else {})
        obj = {"metadata": {"name": name, "namespace": "monitoring"}, "spec": {"groups": [group]}}
        self.call(self.store.create, PROMETHEUS_RULES, obj)

    def route(self, text: str) -> None:
        """Create or replace the user's Alertmanager configuration."""
        data = {"metadata": {"name": "alertmanager", "namespace": "monitoring"}, "data": {"alertmanager.yml": text}}
        there = self.call(self.store.find, CONFIGMAPS, "monitoring", "alertmanager")
        self.call(self.store.update if there else self.store.create, CONFIGMAPS, data)

    def status_of(self, name: str) -> dict[str, Any]:
        obj = self.call(self.store.get, PROMETHEUS_RULES, "monitoring", name)
        return obj.get("status", {}).get("drills", {})

    def events_about(self, name: str) -> list[str]:
        events = self.call(self.store.list, EVENTS)
        return [event["message"] for event in events if event["involvedObject"]["name"] == name]

    def close(self) -> None:
        async def stop() -> None:
            await self.monitoring.stop()
            await self.runner.cleanup()

        self.run(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        for client in (self.prometheus, self.alertmanager, self.receiver):
            client.close()


def eventually(question: Callable[[], T], seconds: float = 20) -> T:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)
    return answer
