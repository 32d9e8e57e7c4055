"""Drill pods: a pod that carries a source's identity and nothing else, joins no Service, and outlives nobody.

Cilium's identity is made of the pod's labels and service account, so the run's id is an annotation. A readiness gate
that nobody satisfies keeps the pod out of every Service. Its controlling owner, a ConfigMap of its own name, keeps
ReplicaSets with a matching selector from adopting it, and takes the pod along when it goes.
"""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drills import __version__
from drills.errors import Aborted, WorldError
from drills.kube.api import CONFLICT, Api, KubeError, Obj, core

IMAGE = f"drills:{__version__}"
IMAGE_VARIABLE = "DRILLS_IMAGE"  # names another: a registry's, a mirror's
RUN, DRILL = "drills/run", "drills/drill"  # annotations of a drill pod, labels of its owner
READINESS_GATE = "drills/never-ready"
CONTAINER = "drill"
LOOK_SECONDS = 0.1
COLLECTED_SECONDS = 5.0  # until the garbage collector takes a pod whose owner is gone
_USER = 65532  # any but root; the image's own
RESTRICTED_USER: Obj = {  # of a pod, or of a container in a pod that has another
    "runAsNonRoot": True,
    "runAsUser": _USER,
    "runAsGroup": _USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER: Obj = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
HOPELESS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError")


class ReplacedError(WorldError):
    """What was made here is gone, and something else has its name, which is not ours to delete."""


def own_image() -> str:
    """The image that drill pods are made of: that of the runner, where it was told which it is."""
    return os.environ.get(IMAGE_VARIABLE) or IMAGE


def restricted_pod() -> Obj:
    """A pod's security context as Pod Security ``restricted`` wants it; `RESTRICTED_CONTAINER` is its containers'."""
    return {**copy.deepcopy(RESTRICTED_USER), "fsGroup": _USER}


@dataclass(frozen=True, slots=True)
class DrillPodSpec:
    """What a drill pod is to be. ``lifetime``: wall seconds after which the cluster itself ends it. ``node``: where it
    must run; ``prefers``: where the scheduler should put it, if there is room.
    """

    run: str
    drill: str
    name: str
    namespace: str
    labels: Mapping[str, str]
    lifetime: float
    service_account: str | None = None
    node: str | None = None
    prefers: str | None = None
    image: str = field(default_factory=own_image)
    pull_policy: str = "IfNotPresent"
    command: Sequence[str] = ("sleep", "infinity")


@dataclass(frozen=True, slots=True)
class Made:
    """What was created, by uid, so that nothing else is ever deleted."""

    pod: str
    owner: str


@dataclass(frozen=True, slots=True)
class DrillPod:
    """A pod that runs and may act."""

    namespace: str
    name: str
    uid: str
    node: str
    address: str
    service_account: str
    labels: Mapping[str, str]


def pod_manifest(spec: DrillPodSpec, owner_uid: str = "") -> Obj:
    """The pod, as Pod Security ``restricted`` allows it; its owner's uid is known when that has been made."""
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": spec.name, "uid": owner_uid, "controller": True}
    pod: Obj = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": max(1, round(spec.lifetime)),
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "readinessGates": [{"conditionType": READINESS_GATE}],
        "securityContext": restricted_pod(),
        "containers": [_container(spec)],
    }
    if spec.service_account is not None:
        pod["serviceAccountName"] = spec.service_account
    if spec.node is not None:
        pod["nodeName"] = spec.node
    elif spec.prefers is not None:
        pod["affinity"] = {"nodeAffinity": _preference(spec.prefers)}
    metadata = {
        "name": spec.name,
        "namespace": spec.namespace,
        "labels": dict(spec.labels),
        "annotations": {RUN: spec.run, DRILL: spec.drill},
        "ownerReferences": [owner],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}


def _preference(node: str) -> Obj:
    """By name: to keep pods apart by their labels, they would need one that changes their identity."""
    field_of = {"key": "metadata.name", "operator": "In", "values": [node]}
    return {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": {"matchFields": [field_of]}}]
    }


def _container(spec: DrillPodSpec) -> Obj:
    return {
        "name": CONTAINER,
        "image": spec.image,
        "imagePullPolicy": spec.pull_policy,
        "command": list(spec.command),
        "securityContext": copy.deepcopy(RESTRICTED_CONTAINER),
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
    }


def owner_manifest(spec: DrillPodSpec) -> Obj:
    """The ConfigMap that owns the pod."""
    labels = {"app.kubernetes.io/managed-by": "drills", RUN: spec.run}
    metadata = {"name": spec.name, "namespace": spec.namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"drill": spec.drill}}


class PodApi(Api):
    """Pods that act."""

    def create_drill_pod(self, spec: DrillPodSpec) -> Made:
        """Create the pod and its owner. KubeError if the API refuses; then nothing of it stays."""
        where = f"{spec.namespace}/{spec.name}"
        doing = f"create drill pod {where}"
        owner = self.create(doing, core("configmaps", spec.namespace), owner_manifest(spec))
        uid = owner["metadata"]["uid"]
        pod = pod_manifest(spec, uid)
        try:
            made = self.create(doing, core("pods", spec.namespace), pod)
        except WorldError:
            self._delete_owner(spec.namespace, spec.name, uid)
            raise
        return Made(made["metadata"]["uid"], uid)

    def delete_drill_pod(self, namespace: str, name: str, seconds: float, made: Made | None = None) -> bool:
        """Delete a drill pod and its owner, and see both gone; False if somebody else had removed the pod before.

        With ``made`` only what was made is deleted. ReplacedError if another one has its name now, which is
        kept; WorldError if the pod is still there after ``seconds``, or is nobody's drill pod.
        """
        where = f"{namespace}/{name}"
        path = core("pods", namespace, name)
        pod = self.find(f"read pod {where}", "GET", path)
        try:
            if pod is None:
                return False
            uid = pod["metadata"]["uid"]
            if made is not None and uid != made.pod:
                raise ReplacedError(f"Somebody replaced the drill pod {where} by another (uid {uid}); theirs is kept")
            if RUN not in (pod["metadata"].get("annotations") or {}):
                raise WorldError(f"Pod {where} is no drill pod; it is left alone")
            refused = self._try_delete(where, path, uid)
        finally:
            self._delete_owner(namespace, name, None if made is None else made.owner)
        self._wait_gone(where, path, uid, seconds, refused)
        return True

    def _try_delete(self, where: str, path: str, uid: str) -> KubeError | None:
        """Why the API does not delete it: its owner's end may take it along all the same."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        try:
            self.find(f"delete pod {where}", "DELETE", path, body=options)
        except KubeError as error:
            return error
        return None

    def _wait_gone(self, where: str, path: str, uid: str, seconds: float, refused: KubeError | None) -> None:
        began = time.monotonic()
        until = began + (seconds if refused is None else min(seconds, COLLECTED_SECONDS))
        while (pod := self.find(f"read pod {where}", "GET", path)) is not None and pod["metadata"]["uid"] == uid:
            if time.monotonic() > until:
                if refused is not None:
                    refused.seen = True
                raise refused or WorldError(f"Drill pod {where} is still there {seconds:g} s after it was deleted")
            time.sleep(LOOK_SECONDS)

    def wait_running(self, namespace: str, name: str, until: float, stop: threading.Event | None = None) -> DrillPod:
        """The pod once its containers run. WorldError by ``until`` (monotonic clock), or as soon as it is hopeless."""
        where = f"{namespace}/{name}"
        event = stop or threading.Event()
        while True:
            pod = self.call(f"read pod {where}", "GET", core("pods", namespace, name))
            if pod["spec"].get("hostNetwork"):
                raise WorldError(
                    f"Pod {where} uses the node's network: policies never apply to it, name another source"
                )
            state = _state(pod)
            if state == "":
                return _drill_pod(pod)
            if time.monotonic() > until or state.startswith(HOPELESS) or pod["status"].get("phase") in _ENDED:
                raise WorldError(f"Pod {where} does not run: {state}")
            if event.wait(LOOK_SECONDS):
                raise Aborted(f"Interrupted while pod {where} was starting")

    def pods(self, namespace: str, labels: Mapping[str, str]) -> list[Obj]:
        """Every pod of a namespace that carries these labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        query = {"labelSelector": selector} if selector else None
        items: list[Obj] = self.call(f"list pods in {namespace}", "GET", core("pods", namespace), query=query)["items"]
        return items

    def images(self, namespace: str, name: str) -> dict[str, str]:
        """The images of a pod's containers, each with what the kubelet says it is; empty for a pod that is gone."""
        pod = self.find(f"read pod {namespace}/{name}", "GET", core("pods", namespace, name))
        return {} if pod is None else images_of(pod)

    def _delete_owner(self, namespace: str, name: str, uid: str | None) -> None:
        """``uid`` None: whichever has the name. One that somebody put in its place is left alone."""
        path = core("configmaps", namespace, name)
        options: Obj = {"propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            self.find(f"delete ConfigMap {namespace}/{name}", "DELETE", path, body=options)
        except KubeError as error:
            if error.status != CONFLICT:
                raise


def images_of(pod: Obj) -> dict[str, str]:
    """``imageID`` by image, of every container that has run (CRI's ImageStatus: a digest, or the runtime's own id)."""
    return {
        str(each["image"]): str(each["imageID"])
        for kind in ("containerStatuses", "ephemeralContainerStatuses")
        for each in (pod.get("status") or {}).get(kind) or ()
        if each.get("imageID")
    }


_ENDED = ("Failed", "Succeeded")


def _drill_pod(pod: Obj) -> DrillPod:
    metadata, spec, status = pod["metadata"], pod["spec"], pod["status"]
    return DrillPod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        node=spec.get("nodeName", ""),
        address=status["podIP"],
        service_account=spec.get("serviceAccountName", "default"),
        labels=metadata.get("labels") or {},
    )


def _state(pod: Obj) -> str:
    """Why a pod is not running yet; empty if it is."""
    status: Mapping[str, Any] = pod.get("status") or {}
    containers = status.get("containerStatuses") or []
    for container in containers:
        for kind in ("waiting", "terminated"):
            state = (container.get("state") or {}).get(kind)
            if state:
                return f"{state.get('reason', kind)}: {state.get('message', '')}".rstrip(": ")
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason', 'Unschedulable')}: {condition.get('message', '')}".rstrip(": ")
    if status.get("phase") == "Running" and status.get("podIP") and containers:
        return ""
    return str(status.get("message") or f"it is {status.get('phase', 'Pending')}")
