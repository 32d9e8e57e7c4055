"""One pod on one node, from the moment it is bound to the moment it is gone."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from drills.lab import plan, topology
from drills.lab.api.resources import PODS
from drills.lab.api.store import ApiError, Store, timestamp, utc_now
from drills.lab.api.types import Obj, name_of, namespace_of, uid_of
from drills.lab.runtime import events, names, probes, volumes
from drills.lab.runtime.addresses import Addresses, NoAddressError
from drills.lab.runtime.builtin import Builtin
from drills.lab.runtime.container import Container, Surroundings, backoff, restarts_after, run_command
from drills.lab.runtime.datapath import Datapath, Served, ServiceRules
from drills.lab.runtime.environment import ConfigError, environment, expand_all
from drills.lab.runtime.images import Absent, Images, UnknownImageError
from drills.lab.runtime.sandbox import Layout, Sandbox, SandboxError
from drills.lab.runtime.standins import Launch, LaunchError, Request
from drills.lab.runtime.status import Facts, pod_status

log = logging.getLogger("drills.lab.kubelet")

DEADLINE = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
RETRY = 1.0  # seconds until a missing Secret is looked for again


@dataclass(frozen=True, slots=True)
class Host:
    """What all pods of a node share."""

    node: str
    store: Store
    datapath: Datapath
    services: ServiceRules
    images: Images
    addresses: Addresses
    served: Mapping[str, Served] = field(default_factory=dict)  # by role of absent images
    builtins: Mapping[str, Mapping[str, Builtin]] = field(default_factory=dict)  # role -> command -> function
    base: Path = plan.RUN


class Pod:
    """Brings a pod up, keeps it running, publishes its status and takes it down again."""

    def __init__(self, pod: Obj, host: Host) -> None:
        self.obj = pod
        self.uid = uid_of(pod)
        self.host = host
        self.netns = f"pod-{self.uid[:13]}"
        self.layout = Layout(host.base / "pods" / self.uid)
        self.sandbox: Sandbox | None = None
        self._logs = logs = host.base / "podlogs" / self.uid
        spec = pod["spec"]
        self.init = [Container(container, logs) for container in spec.get("initContainers") or []]
        self.containers = [Container(container, logs) for container in spec.get("containers") or []]
        self.ephemeral: list[Container] = []
        self._beside: set[asyncio.Task[int]] = set()  # ephemeral containers that run
        self.facts = Facts(
            str(plan.NODES[host.node]),
            timestamp(utc_now()),
            init=[container.state for container in self.init],
            containers=[container.state for container in self.containers],
        )
        self._grace: int | None = None  # seconds to end in; None while nobody wants it to end
        self._ending = asyncio.Event()
        self._wiring: asyncio.Task[None] | None = None
        self._known_to_datapath = False
        self._served: list[Served] = []

    # what the kubelet and the API call

    def update(self, pod: Obj) -> None:
        """The object has changed: perhaps it is to end, perhaps a readiness gate was opened."""
        self.obj = pod
        if pod["metadata"].get("deletionTimestamp"):
            self.end(int(pod["metadata"].get("deletionGracePeriodSeconds") or 0))
        else:
            self._start_ephemeral()
            self.publish()

    def end(self, grace: int) -> None:
        """Ask for the end within ``grace`` seconds; a later call can only shorten that."""
        self._grace = grace if self._grace is None else min(grace, self._grace)
        self._ending.set()

    def container(self, name: str) -> Container | None:
        """A container by name, of any sort."""
        return next((item for item in (*self.containers, *self.init, *self.ephemeral) if item.name == name), None)

    async def run(self) -> None:
        """The whole life. Returns when the pod is gone from the Store."""
        ending = asyncio.create_task(self._ending.wait())
        living = asyncio.create_task(self._live(), name=f"pod {name_of(self.obj)}")
        try:
            await asyncio.wait({living, ending}, return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                self._note_failure(living)
                await self._tear_down()  # as the kubelet: a finished pod has no sandbox, its logs stay
                self.publish()
                await ending
            else:
                await self._stop_containers(float(self._grace or 0))
        finally:
            self.end(0)  # no container is started again
            if self.sandbox is not None:
                await self.sandbox.stop()
            ending.cancel()
            living.cancel()
            for task in self._beside:
                task.cancel()
            await asyncio.gather(living, ending, *self._beside, return_exceptions=True)
            await self._tear_down()
            self._forget()

    # life

    async def _live(self) -> None:
        deadline = self.obj["spec"].get("activeDeadlineSeconds")
        living = asyncio.create_task(self._live_on())
        try:
            done, _ = await asyncio.wait({living}, timeout=float(deadline) if deadline else None)
            if not done:
                self.facts.failed = DEADLINE
                await self._stop_containers(float(self.obj["spec"].get("terminationGracePeriodSeconds", 30)))
        finally:
            living.cancel()
            await asyncio.wait({living})
        if not living.cancelled():
            living.result()

    async def _live_on(self) -> None:
        self.publish()
        if self._on_host:
            self.facts.pod_ip = self.facts.host_ip
        await self._set_up()
        self._start_ephemeral()
        for container in self.init:
            if not await self._keep(container, self._init_policy()):
                return
        self.facts.initialized = True
        self.publish()
        policy = self.obj["spec"].get("restartPolicy", "Always")
        await asyncio.gather(*(self._keep(container, policy) for container in self.containers))

    def _init_policy(self) -> str:
        return "Never" if self.obj["spec"].get("restartPolicy") == "Never" else "OnFailure"

    async def _set_up(self) -> None:
        """Network, file system, policy; tried again until it works."""
        while True:
            try:
                await self._set_up_once()
            except ConfigError as error:
                self._wait_all("ContainerCreating", "FailedMount", str(error))
            except (SandboxError, NoAddressError, OSError) as error:
                self._wait_all("ContainerCreating", "FailedCreatePodSandBox", str(error))
            else:
                return
            await asyncio.sleep(RETRY)

    async def _set_up_once(self) -> None:
        if self._on_host:
            if not self._absent():
                await self._make_sandbox()
            return
        if self._wiring is None:
            self.facts.pod_ip = self.host.addresses.take()
            self._wiring = asyncio.create_task(asyncio.to_thread(topology.add_pod, self.netns, self.facts.pod_ip))
        await asyncio.shield(self._wiring)
        if not self._absent():
            await self._make_sandbox()
        self.publish()  # the policy agent reads the address from the Store
        if not self._known_to_datapath:
            self._known_to_datapath = True
            await asyncio.gather(self.host.services.attach(self.netns), self.host.datapath.add_endpoint(self.obj))

    async def _make_sandbox(self) -> None:
        if self.sandbox is not None:
            return
        address = self.facts.pod_ip or ""
        shown = {**self.obj, "status": {**(self.obj.get("status") or {}), **self._addresses()}}
        self.layout.make()
        claims = self.host.base / "claims"
        volumes.write(shown, self.layout.volumes, claims, self.host.store.find)
        self.sandbox = await Sandbox.start(
            self.layout,
            self.host.node if self._on_host else self.netns,  # a node's namespace has the node's name
            names.hostname_of(self.obj),
            files=names.files_of(self.obj, address),
            mounts=volumes.mounts_of(self.obj),
            shares=volumes.shares_of(self.obj, claims),
        )

    @property
    def _on_host(self) -> bool:
        return bool(self.obj["spec"].get("hostNetwork"))

    def _absent(self) -> bool:
        """Whether no container of the pod is a process."""
        try:
            found = [self.host.images.find(item.state.image) for item in (*self.init, *self.containers)]
        except UnknownImageError:
            return False
        return all(isinstance(stand_in, Absent) for stand_in in found)

    # containers

    async def _keep(self, container: Container, policy: str) -> bool:
        """Run a container as its restart policy says; whether it ended well."""
        while True:
            status = await self._run_once(container)
            if not restarts_after(policy, status) or self._grace is not None or self.facts.failed:
                self.publish()
                return status == 0
            delay = backoff(container.state.restarts)
            container.again(delay)
            self.publish()
            await asyncio.sleep(delay)

    def _start_ephemeral(self) -> None:
        """Start those that are new; each runs once. A pod that the lab plays itself has no place for them."""
        if self.sandbox is None:
            return
        known = {item.name for item in self.ephemeral}
        for spec in self.obj["spec"].get("ephemeralContainers") or []:
            if spec["name"] not in known:
                container = Container(spec, self._logs)
                self.ephemeral.append(container)
                self.facts.ephemeral.append(container.state)
                task = asyncio.create_task(self._keep(container, "Never"), name=f"ephemeral {container.name}")
                self._beside.add(task)
                task.add_done_callback(self._beside.discard)

    async def _run_once(self, container: Container) -> int:
        stand_in = await self._launch(container)
        if isinstance(stand_in, Absent):
            return await self._play(container, stand_in)
        assert self.sandbox is not None
        if not self.sandbox.has_program(stand_in.argv[0], stand_in.env["PATH"]):
            container.refuse(f'exec: "{stand_in.argv[0]}": executable file not found in $PATH')
            return 128
        surroundings = Surroundings(self.sandbox, self._target, self.publish, self._warn)
        running = asyncio.create_task(container.run(stand_in, surroundings))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if container.process is None:
                running.cancel()
            else:
                container.process.kill()
            await asyncio.wait({running})
            raise

    async def _play(self, container: Container, role: Absent) -> int:
        served = self.host.served.get(role.role)
        if served is not None:
            self._served.append(served)
            await served.start(self.obj, self.netns)
        container.stand()
        self.publish()
        await asyncio.Event().wait()  # until it is cancelled
        return 0

    async def _launch(self, container: Container) -> Launch | Absent:
        """What to start, once everything that the spec refers to is there."""
        while True:
            try:
                stand_in = self.host.images.find(container.state.image)
                return stand_in if isinstance(stand_in, Absent) else self._prepare(container, stand_in.launch)
            except UnknownImageError as error:
                self._wait(container, error.reason, str(error))
                await asyncio.Event().wait()  # no registry will ever bring it
            except LaunchError as error:
                self._wait(container, "CreateContainerError", str(error))
            except ConfigError as error:
                self._wait(container, "CreateContainerConfigError", str(error))
            await asyncio.sleep(RETRY)

    def _prepare(self, container: Container, launch: names.Launcher) -> Launch:
        shown = {**self.obj, "status": {**(self.obj.get("status") or {}), **self._addresses()}}
        wanted = environment(shown, container.spec, self.host.store.find)
        variables = {"HOSTNAME": names.hostname_of(self.obj), **names.KUBERNETES, **wanted}
        request = Request(
            expand_all(container.spec.get("command"), variables),
            expand_all(container.spec.get("args"), variables),
            variables,
            [mount["mountPath"].rstrip("/") for mount in container.spec.get("volumeMounts") or []],
            f"{volumes.INSIDE}/containers/{container.name}",
        )
        made = launch(request)
        if not made.argv:
            raise LaunchError("no command specified")
        place = self.layout.container(container.name)
        place.mkdir(parents=True, exist_ok=True)
        for name, text in made.files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        env = {"HOME": "/root", **made.env, **variables}
        return Launch(made.argv, env, made.files, made.listens, made.capable)

    def _target(self, spec: Obj) -> probes.Target:
        container = self.container(spec["name"])

        async def run(argv: Sequence[str]) -> tuple[int, bytes]:
            assert self.sandbox is not None
            return await run_command(self.sandbox, argv, container.env if container else {})

        return probes.Target(self.host.node, self.facts.pod_ip or "", probes.ports_of(spec), run)

    # the end

    async def _stop_containers(self, seconds: float) -> None:
        """SIGTERM, then time; what is left ends with the sandbox."""
        processes = [item.process for item in (*self.init, *self.containers, *self.ephemeral) if item.process]
        if not processes or seconds == 0:
            return
        for process in processes:
            process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(process.wait() for process in processes))

    async def _tear_down(self) -> None:
        """Take away whatever there is; may be called again."""
        for served in self._served:
            await served.stop(self.obj)
        self._served.clear()
        if self.sandbox is not None:
            await self.sandbox.stop()
            self.sandbox = None
        if self._known_to_datapath:
            self._known_to_datapath = False
            self.host.services.detach(self.netns)
            await self.host.datapath.remove_endpoint(self.obj)
        if self._wiring is not None:
            await asyncio.wait({self._wiring})
            self._wiring = None
            address = self.facts.pod_ip or ""
            await asyncio.to_thread(topology.remove_pod, self.netns, address)
            self.host.addresses.give_back(address)
        self.layout.remove()

    def _forget(self) -> None:
        store, namespace, name = self.host.store, namespace_of(self.obj), name_of(self.obj)
        there = store.find(PODS, namespace, name)
        if there is not None and uid_of(there) == self.uid:
            store.remove(PODS, namespace, name)
        shutil.rmtree(self._logs, ignore_errors=True)

    def _note_failure(self, living: asyncio.Task[None]) -> None:
        error = living.exception()
        if error is not None:
            log.error("pod %s/%s: %s", namespace_of(self.obj), name_of(self.obj), error, exc_info=error)
            self.facts.failed = ("UnexpectedAdmissionError", f"the lab's kubelet failed: {error}")

    # what others see

    def publish(self) -> None:
        """Write the status to the Store if it differs from what is there."""
        current = self.host.store.find(PODS, namespace_of(self.obj), name_of(self.obj))
        if current is None or uid_of(current) != self.uid:
            return
        with suppress(ApiError):
            status = pod_status(current, self.facts, timestamp(utc_now()))
            if status != current.get("status"):
                current = self.host.store.set_status(PODS, namespace_of(self.obj), name_of(self.obj), status)
            self.obj = current

    def _addresses(self) -> Obj:
        return {"podIP": self.facts.pod_ip, "hostIP": self.facts.host_ip}

    def _wait(self, container: Container, reason: str, message: str) -> None:
        if container.wait_for(reason, message):
            self._warn("Failed", f"Error: {reason}: {message}")
            self.publish()

    def _wait_all(self, reason: str, event: str, message: str) -> None:
        news = [container.wait_for(reason, message) for container in (*self.init, *self.containers)]
        if any(news):
            self._warn(event, message)
            self.publish()

    def _warn(self, reason: str, message: str) -> None:
        events.record(self.host.store, self.obj, reason, message, source="kubelet")
