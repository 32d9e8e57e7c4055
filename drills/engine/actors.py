"""The pods that act: one for every source of a drill, made before it, proven to be who they should be, then removed.

A drill pod carries the source's identity and never joins a Service. Before the first attempt its CiliumEndpoint must be
ready, its identity number that of the workload it stands for, and every policy realised.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from drills.engine import naming
from drills.engine.exposure import exposed
from drills.engine.guarding import Guarded
from drills.engine.interrupt import Interrupt
from drills.engine.journal import Journal
from drills.engine.naming import key_of as _key
from drills.engine.realising import End, lacks, policy_input
from drills.engine.result import ImageInput, PolicyInput, Recovery, RecoveryVerdict, SourceInput
from drills.engine.target import Target
from drills.engine.undo import EndContainer, digest, of_drill_pod
from drills.engine.undone import of_error
from drills.errors import DrillsError, WorldError
from drills.kube import DrillPod, DrillPodSpec, Endpoint, Made, ReplacedError, Service
from drills.kube.ephemeral import EphemeralSpec, add_ephemeral, end_ephemeral, ephemeral_manifest, wait_ephemeral
from drills.kube.pods import pod_manifest
from drills.kube.realised import NodePolicies, node_policies
from drills.playbook import ExistingPod, Playbook, Source
from drills.playbook.model import From

READY_SECONDS = 60.0  # on the wall: a real cluster may have to pull the image
REALISED_SECONDS = 30.0
GONE_SECONDS = 30.0
LOOK_SECONDS = 0.1


Part = tuple[From, str]  # who acts, and a role where one source needs several pods


@dataclass(frozen=True, slots=True)
class Actor:
    """A pod that acts for a source. ``number`` is its change in the journal, None for a pod that was there already."""

    source: str
    namespace: str
    pod: str
    number: int | None
    made: Made | None = None  # None where the API's answer to its creation was lost, too
    container: str | None = None  # an ephemeral one in a pod that was there; None: the pod's own


@dataclass(frozen=True, slots=True)
class Realised:
    """What stands when the attack may begin. ``unasked``: what could not be asked, and why."""

    policies: list[PolicyInput]
    actors: list[SourceInput]
    images: list[ImageInput]
    unasked: list[str]


class Actors:
    """The actors of one drill."""

    def __init__(self, target: Target, playbook: Playbook, journal: Journal, run: str, interrupt: Interrupt) -> None:
        self._target = target
        self._playbook = playbook
        self._journal = journal
        self._run = run
        self._interrupt = interrupt
        self._actors: dict[str, Actor] = {}
        self._pods: dict[str, DrillPod] = {}
        self._meant: dict[str, Source | ExistingPod] = {}
        self._enforced: dict[str, str] = {}

    def bring(self, drill: str, parts: Iterable[Part], lifetime: float) -> None:
        """Create what is needed and wait until it runs; ``lifetime``: wall seconds that a pod may live at most.

        Pods of one source in several roles are spread over the nodes, in turn.
        """
        places = self._places()
        for given, role in parts:
            key, source = _key(given, role), self._playbook.source_of(given)
            if key in self._actors:
                continue
            self._meant[key] = source
            if (exposed_by := exposed(self._target.cluster, source)) is not None:
                raise WorldError(exposed_by)
            if isinstance(source, ExistingPod):
                self._actors[key] = Actor(key, source.namespace, source.name, None)
                if source.ephemeral:
                    self._add(drill, key, source, lifetime)
            else:
                self._create(drill, key, source, lifetime, prefers=next(places, None) if role else None)
        until = time.monotonic() + READY_SECONDS
        for actor in self._actors.values():
            self._wait_running(actor, until)

    def of(self, source: From, role: str = "") -> Actor:
        """The actor that a ``from`` means, in a role."""
        return self._actors[_key(source, role)]

    def node_of(self, source: From) -> str:
        """The node on which the actor runs."""
        return self._pods[_key(source)].node

    def realise(self, targets: Sequence[Service], concerned: Collection[str] | None) -> Realised:
        """Wait until every valid policy is realised at both ends: the actors, and the pods behind the targets.

        ``concerned``: the namespaces whose policies may matter, None for all.
        Returns what an auditor wants to know of them; WorldError if it does not come.
        """
        until = time.monotonic() + REALISED_SECONDS
        while True:
            policies = self._target.cluster.policies()
            endpoints = {
                key: self._target.cluster.endpoint(one.namespace, one.pod) for key, one in self._actors.items()
            }
            ends = [
                *(End(f"the drill pod of {key}", self._pods[key].node, one) for key, one in endpoints.items()),
                *(end for target in targets for end in self._behind(target)),
            ]
            nodes, unasked = self._ask_nodes({one.node for one in ends})
            matter = [one for one in policies if concerned is None or (one.namespace or "") in concerned]
            lacking = lacks(matter, ends, nodes)
            if lacking is None:
                break
            if time.monotonic() > until or self._interrupt.stop.wait(LOOK_SECONDS):
                raise WorldError(f"Cilium did not get ready for the drill within {REALISED_SECONDS:g} s: {lacking}")
        self._check_identities(endpoints)
        self._enforced = {address: word for node in nodes.values() for address, word in node.enforced.items()}
        return Realised(
            policies=[policy_input(one, nodes) for one in policies],
            actors=[self._source_input(key) for key in self._actors],
            images=self._images(targets),
            unasked=unasked,
        )

    def guarded(self, namespace: str, pod: str) -> Guarded | None:
        """How policy is enforced on a pod: by its node's agent when all was realised, else by its CiliumEndpoint. None
        for a pod that has no endpoint.
        """
        endpoint = self._target.cluster.endpoint(namespace, pod)
        if endpoint is None:
            return None
        published = [name for name, enforcing in endpoint.enforcing.items() if enforcing]
        word = ("both" if len(published) > 1 else "".join(published) or "none") if endpoint.enforcing else ""
        return Guarded(f"{namespace}/{pod}", self._enforced.get(endpoint.address, word))

    def _images(self, targets: Sequence[Service]) -> list[ImageInput]:
        """What the acting pods, those behind the targets and Cilium's own run."""
        cluster = self._target.cluster
        pods = [(one.namespace, one.pod) for one in self._actors.values()]
        for target in targets:
            pods += [(target.namespace, one.pod) for one in target.backends if one.pod is not None]
        found = [(f"{namespace}/{pod}", cluster.images(namespace, pod)) for namespace, pod in pods]
        return [
            ImageInput(image=image, image_id=known, pods=[pod])
            for pod, images in (*found, *cluster.cilium_images().items())
            for image, known in images.items()
        ]

    def _behind(self, target: Service) -> Iterator[End]:
        """The pods behind a target; one on its node's network has no endpoint of its own, and no policy."""
        for backend in target.backends:
            if backend.pod is None:
                continue
            endpoint = self._target.cluster.endpoint(target.namespace, backend.pod)
            if endpoint is not None:
                yield End(f"{target.namespace}/{backend.pod}, behind the target,", backend.node or "", endpoint)

    def _ask_nodes(self, names: Collection[str]) -> tuple[dict[str, NodePolicies], list[str]]:
        """What the agents of these nodes say, and why some do not."""
        found, unasked = {}, []
        agents = {agent.node: agent for agent in self._target.cluster.agents()}
        for name in sorted(names):
            what = f"whether the policies are realised on {name or 'its node'}"
            if name not in agents:
                unasked.append(f"{what}: no agent runs there")
                continue
            try:
                found[name] = node_policies(self._target.cluster, agents[name], self._interrupt.stop)
            except WorldError as error:
                unasked.append(f"{what}: {error}")
        return found, unasked

    def policies(self) -> list[PolicyInput]:
        """Every policy as it stands now. Raises WorldError."""
        return [policy_input(one, {}) for one in self._target.cluster.policies()]

    def remove(self) -> Recovery:
        """Delete every pod that was made here, and nothing else, and see it gone. ``seconds`` in playbook time."""
        began = time.monotonic()
        problems, gone, ended, certain = [], [], [], False
        for actor in self._actors.values():
            if actor.number is None:
                continue
            try:
                if actor.container is not None:
                    ended.append(self._end(actor, actor.container))
                    self._journal.undone(actor.number)
                    continue
                ours = self._target.cluster.delete_drill_pod(actor.namespace, actor.pod, GONE_SECONDS, actor.made)
            except ReplacedError as error:
                problems.append(str(error))
                certain = ours = True  # nothing of it is left; what has its name is somebody else's
            except DrillsError as error:
                problems.append(str(error))
                certain = certain or of_error(error) == "not-restored"
                continue
            self._journal.undone(actor.number)
            if not ours and actor.made is not None:
                gone.append(f"{actor.namespace}/{actor.pod}")
        seconds = round(self._target.playbook(time.monotonic() - began), 1)
        if problems:
            verdict: RecoveryVerdict = "not-restored" if certain else "not-verified"
            return Recovery(verdict=verdict, seconds=seconds, reason="; ".join(problems))
        if gone:
            reason = "; ".join([f"somebody had removed {', '.join(gone)} before", *ended])
            return Recovery(verdict="self-healed", seconds=seconds, reason=reason)
        return Recovery(verdict="restored", seconds=seconds, reason="; ".join(ended))

    def _end(self, actor: Actor, container: str) -> str:
        found = end_ephemeral(self._target.cluster, actor.namespace, actor.pod, container, GONE_SECONDS)
        return f"ephemeral container {container}: {found}"

    def _add(self, drill: str, key: str, source: ExistingPod, lifetime: float) -> None:
        """An ephemeral container, but only to a pod that can act: it could not be removed again."""
        self._wait_running(self._actors[key], time.monotonic() + READY_SECONDS)
        name = naming.ephemeral_container(key, self._run, drill, self._playbook)
        spec = EphemeralSpec(source.namespace, source.name, name, lifetime)
        number = self._journal.change(
            f"ephemeral container {name} in pod {spec.where}",
            undo="end it; its entry stays in the pod until the pod goes",
            after=digest(ephemeral_manifest(spec)),
            how=EndContainer(namespace=spec.namespace, pod=spec.pod, container=name),
        )
        self._actors[key] = Actor(key, spec.namespace, spec.pod, number, container=name)
        add_ephemeral(self._target.cluster, spec)
        wait_ephemeral(self._target.cluster, spec, time.monotonic() + READY_SECONDS, self._interrupt.stop)

    def _places(self) -> Iterator[str]:
        """The nodes in turn; read when the first is asked for."""
        yield from itertools.cycle(self._target.cluster.open_nodes())

    def _create(self, drill: str, key: str, source: Source, lifetime: float, *, prefers: str | None) -> None:
        spec = DrillPodSpec(
            run=self._run,
            drill=drill,
            name=naming.drill_pod(key, self._run, drill, self._playbook),
            namespace=source.namespace,
            labels=source.labels,
            service_account=source.service_account,
            node=source.node,
            prefers=prefers,
            lifetime=lifetime,
        )
        number = self._journal.change(
            f"pod {spec.namespace}/{spec.name}",
            undo="delete it",
            after=digest(pod_manifest(spec)),
            how=of_drill_pod(spec.namespace, spec.name),
        )
        # Known before it is made: if the answer is lost, what the API did is removed all the same.
        self._actors[key] = Actor(key, spec.namespace, spec.name, number)
        made = self._target.cluster.create_drill_pod(spec)
        self._actors[key] = replace(self._actors[key], made=made)

    def _wait_running(self, actor: Actor, until: float) -> None:
        self._pods[actor.source] = self._target.cluster.wait_running(
            actor.namespace, actor.pod, until, self._interrupt.stop
        )

    def _check_identities(self, endpoints: dict[str, Endpoint | None]) -> None:
        for key, actor in self._actors.items():
            endpoint, source = endpoints[key], self._meant[key]
            if endpoint is None or isinstance(source, ExistingPod):
                continue
            twins = self._target.cluster.twins(actor.namespace, source.labels)
            if twins and all(twin.identity != endpoint.identity for twin in twins):
                raise WorldError(
                    f"The drill pod {actor.namespace}/{actor.pod} got identity {endpoint.identity}, but the pods that "
                    f"it stands for ({twins[0].name}) have {twins[0].identity}: give the source all labels of those "
                    "pods and their service account."
                )

    def _source_input(self, key: str) -> SourceInput:
        actor, pod = self._actors[key], self._pods[key]
        endpoint = self._target.cluster.endpoint(actor.namespace, actor.pod)
        return SourceInput(
            source=key,
            pod=f"{actor.namespace}/{actor.pod}",
            node=pod.node,
            address=pod.address,
            identity=None if endpoint is None else endpoint.identity,
            service_account=pod.service_account,
        )
