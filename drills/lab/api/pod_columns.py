"""The READY, STATUS and RESTARTS of ``kubectl get pods`` (pkg/printers/internalversion/printers.go printPod)."""

from __future__ import annotations

from datetime import datetime

from drills.lab.api.types import Obj, deleting


def _statuses(pod: Obj, kind: str = "containerStatuses") -> list[Obj]:
    return (pod.get("status") or {}).get(kind) or []


def ready_count(pod: Obj) -> str:
    """Ready containers of all: ``1/2``."""
    total = len((pod.get("spec") or {}).get("containers") or ())
    return f"{sum(bool(status.get('ready')) for status in _statuses(pod))}/{total}"


def restarts(pod: Obj, _: datetime) -> str:
    """How often containers were started again."""
    return str(sum(int(status.get("restartCount") or 0) for status in _statuses(pod)))


def pod_reason(pod: Obj) -> str:
    """One word for how the pod is: its phase, or why a container does not run."""
    status = pod.get("status") or {}
    reason = str(status.get("reason") or status.get("phase") or "Unknown")
    if deleting(pod):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    starting = _init_reason(pod)
    if starting:
        return starting
    for container in reversed(_statuses(pod)):
        reason = _container_reason(container) or reason
    running = any(c.get("ready") and "running" in (c.get("state") or {}) for c in _statuses(pod))
    if reason == "Completed" and running:
        ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
        return "Running" if ready else "NotReady"
    return reason


def _container_reason(container: Obj) -> str | None:
    state = container.get("state") or {}
    waiting, terminated = state.get("waiting") or {}, state.get("terminated")
    if waiting.get("reason"):
        return str(waiting["reason"])
    return _ended(terminated) if terminated is not None else None


def _ended(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    return f"Signal:{terminated['signal']}" if terminated.get("signal") else f"ExitCode:{terminated.get('exitCode', 0)}"


def _init_reason(pod: Obj) -> str | None:
    statuses = _statuses(pod, "initContainerStatuses")
    for index, container in enumerate(statuses):
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if terminated is not None:
            return f"Init:{_ended(terminated)}"
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(statuses)}"
    return None
