"""A pod's status from what its kubelet knows. Pure; the rules are those of pkg/kubelet/status in Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from drills.lab.api.types import Obj

KUBELETS_OWN = ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")


@dataclass(slots=True)
class ContainerState:
    """One container as the API shows it."""

    name: str
    image: str
    state: Obj = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Obj = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """Its exit status if it has ended and is not waiting for another start."""
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])

    def as_status(self) -> Obj:
        """The containerStatuses entry."""
        return {
            "name": self.name,
            "image": self.image,
            "imageID": f"drills-lab://{self.image}" if self.container_id else "",
            "state": self.state,
            "lastState": self.last,
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            **({"containerID": self.container_id} if self.container_id else {}),
        }


@dataclass(slots=True)
class Facts:
    """What the kubelet knows of a pod."""

    host_ip: str
    start_time: str
    pod_ip: str | None = None
    init: Sequence[ContainerState] = ()
    containers: Sequence[ContainerState] = ()
    ephemeral: list[ContainerState] = field(default_factory=list)
    initialized: bool = False
    failed: tuple[str, str] | None = None  # reason and message when the kubelet has ended the pod itself


def phase_of(pod: Obj, facts: Facts) -> str:
    """Pending, Running, Succeeded or Failed."""
    if facts.failed:
        return "Failed"
    always = pod["spec"].get("restartPolicy", "Always") == "Always"
    if not facts.initialized:
        failed = pod["spec"].get("restartPolicy") == "Never" and any(state.exit_code for state in facts.init)
        return "Failed" if failed else "Pending"
    codes = [state.exit_code for state in facts.containers]
    if not always and all(code is not None for code in codes):
        retried = pod["spec"].get("restartPolicy") == "OnFailure"
        if not any(codes):
            return "Succeeded"
        return "Running" if retried else "Failed"
    return "Running" if any(state.container_id for state in facts.containers) else "Pending"


def conditions_of(pod: Obj, facts: Facts, now: str) -> list[Obj]:
    """All conditions: the kubelet's own, and untouched those of everybody else (readiness gates, the scheduler)."""
    old = {condition["type"]: condition for condition in (pod.get("status") or {}).get("conditions") or []}
    wanted = _own_conditions(pod, facts, old)
    merged = [_stamped(condition, old.get(condition["type"]), now) for condition in wanted]
    if "PodScheduled" not in old:  # its maker bound it to the node without the scheduler
        merged.append(_stamped(_condition("PodScheduled"), None, now))
    return [*merged, *(condition for kind, condition in old.items() if kind not in KUBELETS_OWN)]


def pod_status(pod: Obj, facts: Facts, now: str) -> Obj:
    """The whole status."""
    status: Obj = {
        "phase": phase_of(pod, facts),
        "conditions": conditions_of(pod, facts, now),
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "startTime": facts.start_time,
        "qosClass": (pod.get("status") or {}).get("qosClass") or "BestEffort",
        "containerStatuses": [state.as_status() for state in facts.containers],
        "observedGeneration": pod["metadata"].get("generation", 1),
    }
    if facts.pod_ip:
        status |= {"podIP": facts.pod_ip, "podIPs": [{"ip": facts.pod_ip}]}
    if facts.init:
        status["initContainerStatuses"] = [state.as_status() for state in facts.init]
    if facts.ephemeral:
        status["ephemeralContainerStatuses"] = [state.as_status() for state in facts.ephemeral]
    if facts.failed:
        status |= {"reason": facts.failed[0], "message": facts.failed[1]}
    return status


def _own_conditions(pod: Obj, facts: Facts, old: Mapping[str, Obj]) -> list[Obj]:
    phase = phase_of(pod, facts)
    done = "PodFailed" if phase == "Failed" else "PodCompleted" if phase == "Succeeded" else None
    unready = [state.name for state in facts.containers if not state.ready]
    if done:
        containers = _condition("ContainersReady", done)
    elif unready or not facts.initialized:
        names = " ".join(unready)
        containers = _condition("ContainersReady", "ContainersNotReady", f"containers with unready status: [{names}]")
    else:
        containers = _condition("ContainersReady")
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []]
    closed = [gate for gate in gates if (old.get(gate) or {}).get("status") != "True"]
    if containers["status"] == "False":
        ready = {**containers, "type": "Ready"}
    elif closed:
        texts = [f'corresponding condition of pod readiness gate "{gate}" does not exist.' for gate in closed]
        ready = _condition("Ready", "ReadinessGatesNotReady", ", ".join(texts))
    else:
        ready = _condition("Ready")
    pending = [state.name for state in facts.init if state.exit_code != 0]
    message = f"containers with incomplete status: [{' '.join(pending)}]"
    return [
        _condition("PodReadyToStartContainers", None if facts.pod_ip else ""),
        _condition("Initialized", None if facts.initialized else "ContainersNotInitialized", message),
        ready,
        containers,
    ]


def _condition(kind: str, reason: str | None = None, message: str = "") -> Obj:
    """True without a reason, False with one."""
    if reason is None:
        return {"type": kind, "status": "True"}
    texts = {"reason": reason, "message": message}
    return {"type": kind, "status": "False", **{key: text for key, text in texts.items() if text}}


def _stamped(condition: Obj, old: Obj | None, now: str) -> Obj:
    same = old is not None and old.get("status") == condition["status"]
    return {
        "lastProbeTime": None,
        "lastTransitionTime": old["lastTransitionTime"] if old is not None and same else now,
        **condition,
    }
