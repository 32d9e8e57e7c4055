"""The agents of all nodes: they follow the API, realise what it says on every node at once, and write back how far
they are.

One task does all realising. Whatever changes (a pod, a label, a policy) wakes it; it takes the state of that moment,
compiles a program per node, hands it to the nodes, and only when kernel and Envoy have it does it write statuses and
let `add_endpoint` return.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

from drills.cilium import metrics
from drills.errors import DrillsError, WorldError
from drills.lab import plan
from drills.lab.agent import envoy, shell, status
from drills.lab.agent.book import Book, services_of, warm_up
from drills.lab.agent.cluster import Cluster, Identities, Pod, address_of, labels_of_pod, pod_of
from drills.lab.agent.compile import PolicyNumbers, compile_node
from drills.lab.agent.debug import Debug
from drills.lab.agent.encryption import CONFIG, Encryption
from drills.lab.agent.health import Health
from drills.lab.agent.node import NodeAgent
from drills.lab.agent.observe import hubble
from drills.lab.agent.status import Realised
from drills.lab.api.errors import ApiError
from drills.lab.api.resources import (
    CCNP,
    CILIUM_ENDPOINTS,
    CILIUM_IDENTITIES,
    CNP,
    CONFIGMAPS,
    ENDPOINTS,
    NAMESPACES,
    PODS,
    SERVICES,
    Resource,
)
from drills.lab.api.store import Store, timestamp, utc_now
from drills.lab.api.types import Event, Obj, deleting, labels_of, name_of, namespace_of, uid_of
from drills.lab.daemons import Daemons
from drills.lab.dns import StoreCatalog
from drills.lab.names import OutsideNames, resolve
from drills.lab.runtime.builtin import Builtin, ExecIO
from drills.lab.settings import LabSettings

log = logging.getLogger("drills.lab.agent")

REALISE_SECONDS = 15.0  # a pod whose policy is not in force by then does not start
RETRY_SECONDS = 0.5
_AGENT_LABELS = {"k8s-app": "cilium"}


class Agents:
    """All agents of the lab. It is the kubelets' `Datapath`."""

    def __init__(
        self, store: Store, settings: LabSettings, daemons: Daemons | None = None, outside: OutsideNames | None = None
    ) -> None:
        """``outside``: what the world's names are, as the lab's DNS gives them out."""
        self._store = store
        self._outside = outside or OutsideNames()
        self._daemons = daemons or Daemons()
        numbers = PolicyNumbers()
        self._encryption = Encryption(store, self._daemons)
        self.nodes = {node: NodeAgent(node, self._daemons, numbers, self._encryption) for node in plan.NODES}
        self._numbers = numbers
        self._book = Book()
        self._identities = Identities()
        self._numbered = 0  # endpoints so far; each gets a number
        self._pods: dict[str, tuple[str, int]] = {}  # uid -> node, endpoint number
        self._keys: dict[str, tuple[str, str]] = {}  # uid -> namespace, name
        self._wired: dict[str, float] = {}  # uid -> when
        self._realised = {node: Realised(0) for node in plan.NODES}
        self._dirty = asyncio.Event()
        self._asked = 0  # how often something changed
        self._done = 0  # the last change that is realised everywhere
        self._progress = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._agent_pods: dict[str, str] = {}  # node -> uid
        self._health = Health({node: self.nodes[node].observer for node in plan.NODES}, settings)

    async def start(self) -> None:
        """Bring up every node's agent and follow the API. WorldError if a node cannot be policed."""
        nodes = (agent.start() for agent in self.nodes.values())
        await asyncio.gather(asyncio.to_thread(warm_up), self._encryption.start(), *nodes)
        await self._health.start()
        self._store.listen(self._changed)
        self._touch()
        self._task = asyncio.create_task(self._follow(), name="cilium agents")

    async def stop(self) -> None:
        """End all agents."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._health.stop()
        await asyncio.gather(self._encryption.stop(), *(agent.stop() for agent in self.nodes.values()))

    async def add_endpoint(self, pod: Obj) -> None:
        """Learn of a wired pod; returns when every node enforces what its identity means. WorldError if that fails."""
        if (pod.get("spec") or {}).get("hostNetwork"):
            return
        namespace, name, uid = namespace_of(pod) or "default", name_of(pod), uid_of(pod)
        if address_of(self._store.get(PODS, namespace, name)) is None:
            raise WorldError(f"The pod {namespace}/{name} has no address yet.")
        self._numbered += 1
        self._pods[uid] = (pod["spec"]["nodeName"], self._numbered)
        self._keys[uid] = (namespace, name)
        self._wired[uid] = time.monotonic()
        await self._realised_change(self._touch())

    async def remove_endpoint(self, pod: Obj) -> None:
        """Forget a pod; returns when no node's rules name it any more. A pod that is not known is no error."""
        if self._pods.pop(uid_of(pod), None) is None:
            return
        self._keys.pop(uid_of(pod), None)
        self._wired.pop(uid_of(pod), None)
        with suppress(ApiError):
            self._store.remove(CILIUM_ENDPOINTS, namespace_of(pod), name_of(pod))
        await self._realised_change(self._touch())

    async def settled(self) -> None:
        """Return when everything that the API says at this moment is in force. WorldError if that takes too long."""
        await self._realised_change(self._asked)

    async def met(self) -> None:
        """Return when every node has reached all others, as pods do."""
        await self._health.met()

    def commands(self) -> Mapping[str, Builtin]:
        """What ``exec`` finds in an agent's container."""
        debug = Debug(self.nodes, self._book, self._encryption)

        async def observe(node: str, argv: Sequence[str], io: ExecIO) -> int:
            return await hubble(self.nodes[node].observer.ring, argv, io)

        own = {"hubble": observe, "cilium-dbg": debug.run, "cilium": debug.run, "cilium-envoy": envoy.command}
        return MappingProxyType({**shell.commands(self._encryption.state_of, self._addresses), **own})

    def _addresses(self, name: str) -> Sequence[str]:
        """Of a name outside of the cluster, as the nodes' own resolver has it."""
        known = name.rstrip(".").split(".")[-2:] != ["cluster", "local"]
        return resolve(name, StoreCatalog(self._store), self._outside).addresses if known else ()

    @property
    def notes(self) -> list[str]:
        """What this machine keeps the agents from doing."""
        return [self._encryption.note] if self._encryption.note else []

    # following

    def _changed(self, resource: Resource, event: Event) -> None:
        if resource is PODS:
            self._pod_changed(event)
        elif resource in (CNP, CCNP):
            if event.type != "MODIFIED" or _generation(event.obj) != _generation(event.previous):
                self._touch()
        elif resource is NAMESPACES:
            if event.type == "MODIFIED" and labels_of(event.obj) != labels_of(event.previous or {}):
                self._touch()
        elif resource in (SERVICES, ENDPOINTS):
            self._touch()

    def _pod_changed(self, event: Event) -> None:
        if uid_of(event.obj) in self._pods:
            if event.type == "MODIFIED" and labels_of(event.obj) != labels_of(event.previous or {}):
                self._touch()
        elif labels_of(event.obj).items() >= _AGENT_LABELS.items() and namespace_of(event.obj) == "kube-system":
            self._agent_pod_changed(event)

    def _agent_pod_changed(self, event: Event) -> None:
        """The agent's own pod: without it the node keeps its rules but has no metrics, a new one counts from zero."""
        pod, uid = event.obj, uid_of(event.obj)
        node = (pod.get("spec") or {}).get("nodeName")
        if node not in self.nodes:
            return
        if event.type == "DELETED":
            if self._agent_pods.get(node) == uid:
                self.nodes[node].exporting = False
            return
        if (pod.get("status") or {}).get("phase") != "Running" or deleting(pod):
            return
        if self._agent_pods.setdefault(node, uid) != uid:
            log.warning("the agent of %s was restarted: its counters start again", node)
            self._agent_pods[node] = uid
            self.nodes[node].restart()
            self._encryption.restart(node, self._health.probe_now)
            self._touch()  # gauges of what is in force anyway

    def _touch(self) -> int:
        self._asked += 1
        self._dirty.set()
        return self._asked

    async def _realised_change(self, change: int) -> None:
        try:
            async with asyncio.timeout(REALISE_SECONDS):
                while self._done < change:
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            errors = "; ".join(f"{node}: {how.error}" for node, how in self._realised.items() if how.error)
            raise WorldError(f"The network policies are not in force after {REALISE_SECONDS:g} s. {errors}") from None

    async def _follow(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._realise()
            except Exception:
                log.exception("realising the policies failed")  # an edge: the agents must not die of one bad object
                await self._again()

    async def _again(self) -> None:
        await asyncio.sleep(RETRY_SECONDS)
        self._dirty.set()

    # realising

    async def _realise(self) -> None:
        asked = self._asked
        self._import()
        cluster = self._cluster()
        revision, policies = self._book.revision, self._book.policies

        async def realise(agent: NodeAgent) -> None:
            compiled = compile_node(agent.node, cluster, policies, self._numbers)
            before = self._realised[agent.node]
            try:
                await agent.realise(compiled, cluster, policies, revision)
            except DrillsError as error:
                log.error("%s", error)  # noqa: TRY400 - the sentence is enough
                self._realised[agent.node] = Realised(before.revision, str(error))
            else:
                self._realised[agent.node] = Realised(revision)

        await asyncio.gather(*(realise(agent) for agent in self.nodes.values()))
        self._report(cluster)
        if any(how.error for how in self._realised.values()):
            await self._again()
            return
        self._done = asked
        self._progress.set()

    def _import(self) -> None:
        objects = [*self._store.list(CNP), *self._store.list(CCNP)]
        services = services_of(self._store.list(SERVICES), self._store.list(ENDPOINTS))
        changes = self._book.update(objects, services)
        for agent in self.nodes.values():
            counts = agent.observer.agent.cilium
            for change in changes:
                counts.add(metrics.POLICY_CHANGE, source="k8s", operation=change.operation, outcome=change.outcome)
            counts.set(metrics.POLICY, sum(each.policy is not None for each in self._book.imports.values()))
            counts.set(metrics.POLICY_MAX_REVISION, self._book.revision)

    def _cluster(self) -> Cluster:
        pods: dict[str, Pod] = {}
        for uid, (node, number) in self._pods.items():
            obj = self._store.find(PODS, *self._keys[uid])
            if obj is None or uid_of(obj) != uid:
                continue
            namespace = self._store.find(NAMESPACES, None, self._keys[uid][0]) or {}
            identity = self._identities.of(labels_of_pod(obj, labels_of(namespace)))
            pod = pod_of(obj, node, number, identity)
            if pod is not None:
                pods[uid] = pod
        return Cluster(MappingProxyType(pods))

    # reporting

    def _report(self, cluster: Cluster) -> None:
        """Write down what is realised, and only that."""
        for each in self._identities.known():
            if self._store.find(CILIUM_IDENTITIES, None, str(each.number)) is None:
                self._store.create(CILIUM_IDENTITIES, status.identity(each.number, each.labels))
        for agent in self.nodes.values():
            if not self._realised[agent.node].error:
                self._report_endpoints(agent, cluster)
        now = timestamp(utc_now())
        for imported in self._book.imports.values():
            resource = CNP if imported.kind == CNP.kind else CCNP
            obj = self._store.find(resource, imported.namespace, imported.name)
            if obj is not None and uid_of(obj) == imported.uid:
                new = status.policy_status(obj.get("status") or {}, imported, self._realised, now)
                self._store.set_status(resource, imported.namespace, imported.name, new)

    def _delay(self) -> float:
        """Seconds on the wall that a CiliumEndpoint comes after its pod, as where identities are slow to be had: by
        ``lab-endpoint-delay`` in ConfigMap kube-system/cilium-config, which is no key of Cilium's.
        """
        config = self._store.find(CONFIGMAPS, *CONFIG) or {}
        try:
            return float((config.get("data") or {}).get("lab-endpoint-delay") or 0)
        except ValueError:
            return 0.0

    def _report_endpoints(self, agent: NodeAgent, cluster: Cluster) -> None:
        revision = self._realised[agent.node].revision
        for pod in cluster.on(agent.node):
            if pod.uid not in self._pods:
                continue  # it left meanwhile
            policy = agent.compiled.policies[pod.uid]
            if self._store.find(CILIUM_ENDPOINTS, pod.namespace, pod.name) is None:
                if (left := self._wired[pod.uid] + self._delay() - time.monotonic()) > 0:
                    asyncio.get_running_loop().call_later(left, self._touch)
                    continue
                owner = self._store.find(PODS, pod.namespace, pod.name) or {}
                with suppress(ApiError):  # its namespace may be on its way out
                    self._store.create(CILIUM_ENDPOINTS, status.endpoint(pod, owner, policy, revision))
            else:
                found = status.endpoint_status(pod, policy, revision)
                self._store.set_status(CILIUM_ENDPOINTS, pod.namespace, pod.name, found)


def _generation(obj: Obj | None) -> int:
    return int(((obj or {}).get("metadata") or {}).get("generation", 0))
