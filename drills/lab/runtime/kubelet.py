"""The kubelets of all nodes: each follows the pods bound to its node; together they answer exec and logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from drills.lab import plan
from drills.lab.api.containers import ContainerProcess, ExecError
from drills.lab.api.resources import PODS
from drills.lab.api.store import Store
from drills.lab.api.types import EventType, Obj, name_of, uid_of
from drills.lab.runtime import logs
from drills.lab.runtime.addresses import Addresses
from drills.lab.runtime.builtin import Builtin, BuiltinProcess
from drills.lab.runtime.container import Container
from drills.lab.runtime.datapath import Datapath, Served, ServiceRules
from drills.lab.runtime.images import Absent, Images
from drills.lab.runtime.pod import Host, Pod
from drills.lab.runtime.process import Process
from drills.lab.runtime.sandbox import capabilities_of
from drills.lab.runtime.standins import SYSTEM_PATH

log = logging.getLogger("drills.lab.kubelet")


class Kubelets:
    """All kubelets of the lab; implements `Containers`.

    ``builtins`` are commands of absent images by role (``{"cilium": agents.commands()}``), ``served`` what
    the lab itself does in the place of an absent image (``{"coredns": dns}``).
    """

    def __init__(
        self,
        store: Store,
        *,
        datapath: Datapath,
        services: ServiceRules,
        images: Images | None = None,
        served: Mapping[str, Served] | None = None,
        builtins: Mapping[str, Mapping[str, Builtin]] | None = None,
        base: Path = plan.RUN,
    ) -> None:
        self._store = store
        self._images = images or Images()
        self._builtins = builtins or {}
        self._hosts = {
            node: Host(
                node,
                store,
                datapath,
                services,
                self._images,
                Addresses(node),
                served or {},
                self._builtins,
                base,
            )
            for node in plan.NODES
        }
        self._pods: dict[str, tuple[Pod, asyncio.Task[None]]] = {}
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow the Store."""
        self._watcher = asyncio.create_task(self._follow(), name="kubelets")

    async def stop(self) -> None:
        """End every pod's processes at once; the objects stay as they are."""
        tasks = [task for _, task in self._pods.values()]
        if self._watcher is not None:
            tasks.append(self._watcher)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pods.clear()

    async def exec(
        self, pod: Obj, container: str, command: Sequence[str], *, stdin: bool, tty: bool
    ) -> ContainerProcess:
        """Start a command in a running container. Raises ExecError."""
        running, found = self._find(pod, container)
        if not found.state.running:
            raise ExecError(f"container {container} of pod {name_of(pod)} is not running")
        if not command:
            raise ExecError("no command was given")
        stand_in = self._images.find(found.state.image)
        if isinstance(stand_in, Absent):
            return self._builtin(stand_in, running.host.node, command)
        env = {**found.env, **({"TERM": "xterm"} if tty else {})}
        sandbox = running.sandbox
        if sandbox is None:
            raise ExecError(f"pod {name_of(pod)} is on its way out")
        if not sandbox.has_program(command[0], env.get("PATH", SYSTEM_PATH)):
            raise ExecError(f'exec: "{command[0]}": executable file not found in $PATH')
        capabilities = capabilities_of(found.spec)
        argv = sandbox.command(command, directory=found.spec.get("workingDir"), capabilities=capabilities, terminal=tty)
        return await Process.start(argv, env, stdin=stdin, tty=tty)

    async def logs(
        self,
        pod: Obj,
        container: str,
        *,
        follow: bool,
        tail: int | None,
        since: float | None,
        previous: bool,
        timestamps: bool,
    ) -> AsyncIterator[bytes]:
        """Lines that a container wrote. Raises ExecError on the first step if there is no such log."""
        _, found = self._find(pod, container)
        file = found.last_log if previous else found.log
        if file is None:
            if previous:
                raise ExecError(f'previous terminated container "{container}" in pod "{name_of(pod)}" not found')
            waiting = found.state.state.get("waiting")
            if waiting is None:
                return  # played by the lab itself: nothing to read
            why = f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
            raise ExecError(f'container "{container}" in pod "{name_of(pod)}" is waiting to start: {why}')
        async for line in logs.read(file, follow=follow, tail=tail, since=since, timestamps=timestamps):
            yield line

    def _builtin(self, role: Absent, node: str, command: Sequence[str]) -> ContainerProcess:
        builtin = self._builtins.get(role.role, {}).get(Path(command[0]).name)
        if builtin is None:
            known = ", ".join(sorted(self._builtins.get(role.role, {}))) or "none"
            raise ExecError(f'exec: "{command[0]}": not found; the lab knows these commands here: {known}')
        return BuiltinProcess(builtin, node, command)

    def _find(self, pod: Obj, container: str) -> tuple[Pod, Container]:
        running = self._pods.get(uid_of(pod))
        if running is None:
            raise ExecError(f"pod {name_of(pod)} does not run on any node yet")
        found = running[0].container(container)
        if found is None:
            raise ExecError(f"container {container} is not valid for pod {name_of(pod)}")
        return running[0], found

    async def _follow(self) -> None:
        watch = self._store.watch(PODS)
        try:
            async for kind, pod in watch:
                self._take(kind, pod)
        finally:
            watch.close()

    def _take(self, kind: EventType, pod: Obj) -> None:
        uid = uid_of(pod)
        running = self._pods.get(uid)
        if kind == "DELETED":
            if running is not None:
                running[0].end(0)
            return
        if running is not None:
            running[0].update(pod)
            return
        host = self._hosts.get(pod["spec"].get("nodeName") or "")
        if host is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return
        worker = Pod(pod, host)
        if pod["metadata"].get("deletionTimestamp"):
            worker.end(0)
        task = asyncio.create_task(worker.run(), name=f"kubelet {name_of(pod)}")
        task.add_done_callback(lambda done: self._ended(uid, done))
        self._pods[uid] = (worker, task)

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        self._pods.pop(uid, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("a pod's worker failed", exc_info=task.exception())
