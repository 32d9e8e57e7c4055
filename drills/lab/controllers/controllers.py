"""All controllers, started together."""

from __future__ import annotations

import asyncio

from drills.lab.api.store import Store
from drills.lab.controllers.daemonsets import DaemonSets
from drills.lab.controllers.deployments import Deployments
from drills.lab.controllers.jobs import Jobs
from drills.lab.controllers.loop import Loop
from drills.lab.controllers.replicasets import ReplicaSets
from drills.lab.controllers.scheduler import Scheduler
from drills.lab.controllers.service_rules import ServiceProxy
from drills.lab.controllers.services import Services
from drills.lab.controllers.statefulsets import StatefulSets

KINDS = (Scheduler, Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, Services)


class Controllers:
    """The controller manager, the scheduler and the service proxy. ``services`` is what the kubelets need."""

    def __init__(self, store: Store) -> None:
        self.services = ServiceProxy(store)
        self._loops = [Loop(store, kind(store)) for kind in KINDS]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to follow the Store."""
        runs = [self.services.run(), *(loop.run() for loop in self._loops)]
        self._tasks = [asyncio.create_task(run) for run in runs]

    async def stop(self) -> None:
        """Stop following; what there is stays."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
