"""When a lab may be called ready: every workload stands, or will not stand however long one waits.

Pure: what is said here is decided from the objects in the Store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from drills.lab.api.resources import DAEMONSETS, DEPLOYMENTS, JOBS, PODS, STATEFULSETS, Resource
from drills.lab.api.types import Obj, deleting, name_of, namespace_of

UNKNOWN_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName"})
HOPELESS = frozenset({"CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"})

List = Callable[[Resource], Iterable[Obj]]


class Standing(Enum):
    """How far a pod is."""

    READY = "ready"
    WAITING = "waiting"
    STUCK = "stuck"  # nothing but a change of its spec or surroundings helps


@dataclass(frozen=True, slots=True)
class Trouble:
    """A pod that is not ready, and why."""

    pod: str
    reason: str
    message: str

    @property
    def unknown_image(self) -> bool:
        """Whether the manifest names an image that the lab has no stand-in for."""
        return self.reason in UNKNOWN_IMAGE

    def __str__(self) -> str:
        return f"Pod {self.pod} is not ready: {self.reason}{': ' if self.message else ''}{self.message}"


@dataclass(frozen=True, slots=True)
class Picture:
    """The whole lab at one moment. ``growing`` are workloads whose pods are not all there yet."""

    growing: tuple[str, ...]
    waiting: tuple[Trouble, ...]
    stuck: tuple[Trouble, ...]

    @property
    def settled(self) -> bool:
        """Whether waiting longer is pointless."""
        return not self.growing and not self.waiting

    def complaints(self) -> list[str]:
        """A sentence for everything that is not as it should be."""
        missing = [f"{workload} does not have all its pods yet" for workload in self.growing]
        return missing + [str(trouble) for trouble in (*self.stuck, *self.waiting)]


def picture(list_all: List) -> Picture:
    """How the lab stands, by a function that lists all objects of a kind."""
    waiting, stuck = [], []
    for pod in list_all(PODS):
        standing, trouble = judge(pod)
        if standing is Standing.WAITING:
            waiting.append(trouble)
        elif standing is Standing.STUCK:
            stuck.append(trouble)
    growing = [
        f"{resource.kind} {namespace_of(obj)}/{name_of(obj)}"
        for resource in (DEPLOYMENTS, STATEFULSETS, DAEMONSETS, JOBS)
        for obj in list_all(resource)
        if _grows(resource, obj, stuck)
    ]
    return Picture(tuple(growing), tuple(waiting), tuple(stuck))


def judge(pod: Obj) -> tuple[Standing, Trouble]:
    """How far one pod is; the second value only matters where it is not ready."""
    status = pod.get("status") or {}
    name = f"{namespace_of(pod)}/{name_of(pod)}"
    phase = status.get("phase", "Pending")
    conditions = {found["type"]: found for found in status.get("conditions") or []}
    if deleting(pod) or phase in ("Succeeded", "Failed") or conditions.get("Ready", {}).get("status") == "True":
        return Standing.READY, Trouble(name, "", "")
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in UNKNOWN_IMAGE | HOPELESS:
            return Standing.STUCK, Trouble(name, reason, waiting.get("message", ""))
    if (pod.get("spec") or {}).get("readinessGates"):
        return Standing.READY, Trouble(name, "", "")  # somebody else's to open
    unscheduled = conditions.get("PodScheduled", {})
    if unscheduled.get("status") == "False":
        return Standing.STUCK, Trouble(name, unscheduled.get("reason", "Unschedulable"), unscheduled.get("message", ""))
    return Standing.WAITING, Trouble(name, phase, conditions.get("Ready", {}).get("message", ""))


def _grows(resource: Resource, obj: Obj, stuck: list[Trouble]) -> bool:
    """Whether a workload still lacks pods that may come. One with a stuck pod in its namespace is not waited for."""
    if any(trouble.pod.startswith(f"{namespace_of(obj)}/{name_of(obj)}") for trouble in stuck):
        return False
    status, spec = obj.get("status") or {}, obj.get("spec") or {}
    if resource is JOBS:
        return not any(status.get(key) for key in ("active", "succeeded", "failed")) and not spec.get("suspend")
    if status.get("observedGeneration", 0) < obj["metadata"].get("generation", 1):
        return True
    if resource is DAEMONSETS:
        return bool(status.get("numberReady", 0) < status.get("desiredNumberScheduled", 1))
    wanted = 1 if spec.get("replicas") is None else spec["replicas"]
    return bool(status.get("readyReplicas", 0) < wanted)
