"""The pods that act: one for every source of a drill, made before it, proven to be who they should be, then removed.

A drill pod carries the source's identity and never joins a Service. Before the first attempt its CiliumEndpoint must be
ready, its identity number that of the workload it stands for, and every policy realised.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from drills.engine import naming
from drills.engine.exposure import exposed
from drills.engine.interrupt import Interrupt
from drills.engine.journal import Journal
from drills.engine.naming import key_of as _key
from drills.engine.result import PolicyInput, Recovery, SourceInput
from drills.engine.target import Target
from drills.engine.undo import of_drill_pod
from drills.errors import DrillsError, WorldError
from drills.kube import DrillPod, DrillPodSpec, Endpoint, Made, Policy, ReplacedError
from drills.playbook import ExistingPod, Playbook, Source
from drills.playbook.model import From

READY_SECONDS = 60.0  # on the wall: a real cluster may have to pull the image
REALISED_SECONDS = 30.0
GONE_SECONDS = 30.0
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Actor:
    """A pod that acts for a source. ``number`` is its change in the journal, None for a pod that was there already."""

    source: str
    namespace: str
    pod: str
    number: int | None
    made: Made | None = None  # None where the API's answer to its creation was lost, too


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

    def bring(self, drill: str, sources: Iterable[From], lifetime: float) -> None:
        """Create what is needed and wait until it runs; ``lifetime``: wall seconds that a pod may live at most."""
        for given in sources:
            key, source = _key(given), self._playbook.source_of(given)
            if key in self._actors:
                continue
            self._meant[key] = source
            if (exposed_by := exposed(self._target.cluster, source)) is not None:
                raise WorldError(exposed_by)
            if isinstance(source, ExistingPod):
                self._actors[key] = Actor(key, source.namespace, source.name, None)
            else:
                self._create(drill, key, source, lifetime)
        until = time.monotonic() + READY_SECONDS
        for actor in self._actors.values():
            self._wait_running(actor, until)

    def of(self, source: From) -> Actor:
        """The actor that a ``from`` means."""
        return self._actors[_key(source)]

    def node_of(self, source: From) -> str:
        """The node on which the actor runs."""
        return self._pods[_key(source)].node

    def realise(self) -> tuple[list[PolicyInput], list[SourceInput]]:
        """Wait until every actor's endpoint is ready and every valid policy realised; WorldError if that does not come.

        Returns what an auditor wants to know of both.
        """
        until = time.monotonic() + REALISED_SECONDS
        while True:
            policies = self._target.cluster.policies()
            endpoints = {
                key: self._target.cluster.endpoint(one.namespace, one.pod) for key, one in self._actors.items()
            }
            lacking = lacks(policies, endpoints)
            if lacking is None:
                break
            if time.monotonic() > until or self._interrupt.stop.wait(LOOK_SECONDS):
                raise WorldError(f"Cilium did not get ready for the drill within {REALISED_SECONDS:g} s: {lacking}")
        self._check_identities(endpoints)
        return [_policy_input(one) for one in policies], [self._source_input(key) for key in self._actors]

    def policies(self) -> list[PolicyInput]:
        """Every policy as it stands now. Raises WorldError."""
        return [_policy_input(one) for one in self._target.cluster.policies()]

    def remove(self) -> Recovery:
        """Delete every pod that was made here, and nothing else, and see it gone. ``seconds`` in playbook time."""
        began = time.monotonic()
        problems, gone = [], []
        for actor in self._actors.values():
            if actor.number is None:
                continue
            try:
                ours = self._target.cluster.delete_drill_pod(actor.namespace, actor.pod, GONE_SECONDS, actor.made)
            except ReplacedError as error:
                problems.append(str(error))
                ours = True  # nothing of it is left; what has its name is somebody else's
            except DrillsError as error:
                problems.append(str(error))
                continue
            self._journal.undone(actor.number)
            if not ours and actor.made is not None:
                gone.append(f"{actor.namespace}/{actor.pod}")
        seconds = round(self._target.playbook(time.monotonic() - began), 1)
        if problems:
            return Recovery(verdict="not-restored", seconds=seconds, reason="; ".join(problems))
        if gone:
            reason = f"somebody had removed {', '.join(gone)} before"
            return Recovery(verdict="self-healed", seconds=seconds, reason=reason)
        return Recovery(verdict="restored", seconds=seconds)

    def _create(self, drill: str, key: str, source: Source, lifetime: float) -> None:
        spec = DrillPodSpec(
            run=self._run,
            drill=drill,
            name=naming.drill_pod(key, self._run),
            namespace=source.namespace,
            labels=source.labels,
            service_account=source.service_account,
            node=source.node,
            lifetime=lifetime,
        )
        number = self._journal.change(
            f"pod {spec.namespace}/{spec.name}", undo="delete it", how=of_drill_pod(spec.namespace, spec.name)
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
            if endpoint is None or isinstance(source, ExistingPod) or actor.number is None:
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


def lacks(policies: list[Policy], endpoints: dict[str, Endpoint | None]) -> str | None:
    """What is not ready yet, in words; None if all is."""
    for policy in policies:
        if policy.valid is None:
            return f"{policy.title} has not been validated yet"
    wanted = max((revision for policy in policies if policy.valid for revision in policy.revisions.values()), default=0)
    for key, endpoint in endpoints.items():
        if endpoint is None or not endpoint.ready:
            return f"the drill pod of {key} has no ready endpoint"
        if endpoint.revision is not None and endpoint.revision < wanted:
            return f"the endpoint of {key} has realised revision {endpoint.revision} of {wanted}"
    return None


def _policy_input(policy: Policy) -> PolicyInput:
    return PolicyInput(
        kind=policy.kind,
        namespace=policy.namespace or "",
        name=policy.name,
        uid=policy.uid,
        generation=policy.generation,
        valid=policy.valid,
        message=policy.message,
        revisions=dict(policy.revisions),
        sha256=policy.sha256,
    )
