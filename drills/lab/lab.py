"""All parts of the lab, wired together and started in the order that makes it ready soonest."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from drills.errors import InputError
from drills.lab import applying, bootstrap, certificates, plan, readiness, world
from drills.lab.agent.agents import Agents
from drills.lab.api.audit import AUDIT_LOG, to_log
from drills.lab.api.resources import by_kind
from drills.lab.api.server import ApiServer
from drills.lab.api.store import Store
from drills.lab.api.types import Obj
from drills.lab.certificates import Certificates
from drills.lab.controllers.controllers import Controllers
from drills.lab.daemons import LOGS, Daemons
from drills.lab.dns import Dns
from drills.lab.monitoring.monitoring import Monitoring
from drills.lab.monitoring.settings import of_lab
from drills.lab.relays import Address, Relays
from drills.lab.runtime.images import Images
from drills.lab.runtime.kubelet import Kubelets
from drills.lab.settings import ENVIRONMENT_IMAGES, LabSettings

WORKLOADS_SECONDS = 20.0  # a pod that is not ready by then does not keep the lab from being ready

log = logging.getLogger("drills.lab")

Progress = Callable[[str], None]


class Lab:
    """One lab inside its namespaces. Nothing has to be stopped: everything ends with PID 1."""

    def __init__(self, settings: LabSettings, listeners: Mapping[str, socket.socket], daemons: Daemons) -> None:
        """``daemons`` may already run Prometheus."""
        self._settings = settings
        self._listeners = listeners
        self._daemons = daemons
        self._store = Store()
        self._monitoring = Monitoring(self._store, of_lab(settings.time_lapse), self._daemons)
        self._dns = Dns(self._store)
        self._agents = Agents(self._store, settings, daemons, self._dns.outside)
        self._controllers = Controllers(self._store)
        self._kubelets = Kubelets(
            self._store,
            datapath=self._agents,
            services=self._controllers.services,
            images=Images.parse(settings.images, Path(ENVIRONMENT_IMAGES)),
            served={"coredns": self._dns},
            builtins={"cilium": self._agents.commands()},
        )
        self._server = ApiServer(self._store, settings.token, self._kubelets, audit=to_log(LOGS / AUDIT_LOG))
        self._relays = Relays(listeners, self._relay_targets())
        self._changed = asyncio.Event()
        self._store.listen(lambda *_: self._changed.set())

    async def start(self, progress: Progress) -> dict[str, Any]:
        """Start everything and return, when all of it is ready, what the starter needs to know.

        InputError if a manifest names an image that the lab does not know, WorldError if a part does not start.
        """
        began = time.monotonic()
        progress("Starting the cluster")
        await self._monitoring.start()
        certificates_made = certificates.make(plan.RUN / "pki")
        made, *_ = await asyncio.gather(certificates_made, self._agents.start(), self._relays.start())
        for obj in bootstrap.objects(self._settings):
            self._create(obj)
        await self._controllers.start()
        await self._kubelets.start()
        await asyncio.gather(self._serve(made), world.start(self._daemons, made.certificate, made.key))
        progress("Applying the manifests")
        notes = applying.apply_all(self._server, self._settings.manifests, self._settings.validation)
        progress("Waiting for the pods and for the first scrape")
        troubles, apart, _ = await asyncio.gather(
            self._workloads_settled(), self._nodes_met(), self._monitoring.ready()
        )
        log.info("ready after %.1f s", time.monotonic() - began)
        return {"authority": made.authority.read_text(), "notes": [*self._agents.notes, *notes, *troubles, *apart]}

    async def ended(self) -> None:
        """Return when the lab has a reason of its own to end: never, so far."""
        await asyncio.Event().wait()

    def _create(self, obj: Obj) -> None:
        resource = by_kind(obj["apiVersion"], obj["kind"])
        assert resource is not None
        self._store.create(resource, obj)

    async def _serve(self, made: Certificates) -> None:
        runner = web.AppRunner(self._server.app(), access_log=None)
        await runner.setup()
        context = made.server_context()
        await web.SockSite(runner, self._listeners["api"], ssl_context=context).start()
        await web.TCPSite(runner, str(plan.SUPERVISOR), plan.API_PORT, ssl_context=context).start()

    def _relay_targets(self) -> dict[str, Address]:
        inside = {name: (address.host, address.port) for name, address in self._monitoring.addresses.items()}
        for node, address in plan.NODES.items():
            inside[f"agent-{node}"] = (str(address), plan.AGENT_METRICS_PORT)
            inside[f"hubble-{node}"] = (str(address), plan.HUBBLE_METRICS_PORT)
        return inside

    async def _nodes_met(self) -> list[str]:
        """Pods of one node reach those of another only after their nodes' first handshake, which takes seconds where
        its first packet is lost.
        """
        try:
            async with asyncio.timeout(WORKLOADS_SECONDS):
                await self._agents.met()
        except TimeoutError:
            return ["The nodes do not reach each other."]
        return []

    async def _workloads_settled(self) -> list[str]:
        """What is still not as the manifests want it when waiting longer is pointless."""
        try:
            async with asyncio.timeout(WORKLOADS_SECONDS):
                while not (found := readiness.picture(self._store.list)).settled:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            found = readiness.picture(self._store.list)
        for trouble in found.stuck:
            if trouble.unknown_image:
                raise InputError(str(trouble))
        return found.complaints()
