"""Ephemeral containers: the probe's own image beside the containers of a pod that is there, with the pod's identity.

Kubernetes adds one to a pod that runs and never removes it again, so its command must end: it holds the container open
for a while and ends at a signal (`drills.probe.hold`). Its entry stays in the pod until the pod goes.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from drills.errors import Aborted, WorldError
from drills.kube.api import KubeError, Obj, core
from drills.kube.cluster import Cluster
from drills.kube.pods import HOPELESS, RESTRICTED_CONTAINER, RESTRICTED_USER, own_image

HOLD: Final = ("python", "-m", "drills.probe.hold")
LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class EphemeralSpec:
    """What is to be added to which pod. ``lifetime``: wall seconds after which it ends by itself."""

    namespace: str
    pod: str
    name: str
    lifetime: float
    image: str = field(default_factory=own_image)

    @property
    def where(self) -> str:
        """``namespace/pod``"""
        return f"{self.namespace}/{self.pod}"


def ephemeral_manifest(spec: EphemeralSpec) -> Obj:
    """The container, as Pod Security ``restricted`` allows it in any pod. It may have no resource limits."""
    return {
        "name": spec.name,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [*HOLD, spec.name, str(max(1, round(spec.lifetime)))],
        "securityContext": copy.deepcopy(RESTRICTED_CONTAINER) | RESTRICTED_USER,
    }


def add_ephemeral(cluster: Cluster, spec: EphemeralSpec) -> None:
    """Add it. Repeating that changes nothing, so an answer that was lost does no harm. KubeError if the API refuses."""
    path = core("pods", spec.namespace, spec.pod, "ephemeralcontainers")
    patch = {"spec": {"ephemeralContainers": [ephemeral_manifest(spec)]}}
    cluster.patch(f"add an ephemeral container to pod {spec.where}", path, patch)


def wait_ephemeral(cluster: Cluster, spec: EphemeralSpec, until: float, stop: threading.Event) -> None:
    """Return when it runs. WorldError by ``until`` (monotonic clock), or as soon as it is hopeless."""
    while True:
        state = _state(cluster.call(f"read pod {spec.where}", "GET", core("pods", spec.namespace, spec.pod)), spec.name)
        if "running" in state:
            return
        kind = next(iter(state), "waiting")
        facts: Obj = state.get(kind) or {}
        reason = str(facts.get("reason", kind))
        if time.monotonic() > until or kind == "terminated" or reason in HOPELESS:
            said = f": {facts['message']}" if facts.get("message") else ""
            raise WorldError(f"The ephemeral container {spec.name} in pod {spec.where} does not run: {reason}{said}")
        if stop.wait(LOOK_SECONDS):
            raise Aborted(f"Interrupted while an ephemeral container of pod {spec.where} was starting")


def end_ephemeral(
    cluster: Cluster,
    namespace: str,
    pod: str,
    name: str,
    seconds: float,
    wait: Callable[[float], object] = time.sleep,
) -> str:
    """End it and see that it has ended; what was found, in words. WorldError if it is still there after ``seconds``."""
    path, where = core("pods", namespace, pod), f"{namespace}/{pod}"
    until, asked = time.monotonic() + seconds, False
    refused: KubeError | None = None
    while True:
        found = cluster.find(f"read pod {where}", "GET", path)
        if found is None:
            return "the pod is gone, and the container with it"
        if name not in {each["name"] for each in found["spec"].get("ephemeralContainers") or ()}:
            return "it was never added"
        state = _state(found, name)
        if "terminated" in state or found["status"].get("phase") in ("Succeeded", "Failed"):
            return f"it has ended; its entry stays in pod {where} until the pod goes"
        if time.monotonic() > until:
            text = f"The ephemeral container {name} in pod {where} has not ended after {seconds:g} s"
            raise refused or WorldError(text)
        if "running" in state and not asked:
            try:
                asked = _ask(cluster, namespace, pod, name)
            except KubeError as error:  # it may have ended just now
                refused = error
        wait(LOOK_SECONDS)


def _ask(cluster: Cluster, namespace: str, pod: str, name: str) -> bool:
    """Whether it was told to end; a container that is just ending takes no command."""
    with cluster.exec(namespace, pod, (*HOLD, "--end", name), name, repeatable=True) as stream:
        for _ in stream.lines(time.monotonic() + cluster.budget.answer):
            pass
        return stream.status() == 0


def _state(pod: Obj, name: str) -> Obj:
    """The container's state: a mapping of one key, or empty where the kubelet has said nothing yet."""
    told: list[Obj] = (pod.get("status") or {}).get("ephemeralContainerStatuses") or []
    return next((each.get("state") or {} for each in told if each["name"] == name), {})
