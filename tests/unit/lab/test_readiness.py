"""When a lab is ready."""

from __future__ import annotations

from typing import Any

import pytest

from drills.lab.api.resources import DAEMONSETS, DEPLOYMENTS, JOBS, PODS, Resource
from drills.lab.readiness import Standing, judge, picture


def pod(name: str = "web-1", **status: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "a", "name": name}, "spec": {}, "status": status}


def ready(value: str) -> list[dict[str, str]]:
    return [{"type": "Ready", "status": value, "message": "why"}]


def waiting(reason: str) -> dict[str, Any]:
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "because"}}}]}


@pytest.mark.parametrize(
    ("status", "standing"),
    [
        ({}, Standing.WAITING),
        ({"phase": "Running", "conditions": ready("True")}, Standing.READY),
        ({"phase": "Running", "conditions": ready("False")}, Standing.WAITING),
        ({"phase": "Succeeded", "conditions": ready("False")}, Standing.READY),
        (waiting("ContainerCreating"), Standing.WAITING),
        (waiting("CrashLoopBackOff"), Standing.STUCK),
        (waiting("ErrImagePull"), Standing.STUCK),
        ({"conditions": [{"type": "PodScheduled", "status": "False"}]}, Standing.STUCK),
    ],
)
def test_one_pod(status: dict[str, Any], standing: Standing) -> None:
    assert judge(pod(**status))[0] is standing


def test_a_readiness_gate_is_not_waited_for() -> None:
    gated = pod(phase="Running", conditions=ready("False"))
    gated["spec"]["readinessGates"] = [{"conditionType": "drills/never"}]
    assert judge(gated)[0] is Standing.READY


def workload(name: str, spec: dict[str, Any], status: dict[str, Any], generation: int = 1) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "a", "name": name, "generation": generation},
        "spec": spec,
        "status": {"observedGeneration": 1, **status},
    }


@pytest.mark.parametrize(
    ("resource", "obj", "settled"),
    [
        (DEPLOYMENTS, workload("web", {}, {"readyReplicas": 1}), True),
        (DEPLOYMENTS, workload("web", {}, {}), False),
        (DEPLOYMENTS, workload("web", {"replicas": 0}, {}), True),
        (DEPLOYMENTS, workload("web", {"replicas": 2}, {"readyReplicas": 1}), False),
        (DEPLOYMENTS, workload("web", {}, {"readyReplicas": 1}, generation=2), False),
        (DAEMONSETS, workload("web", {}, {"numberReady": 2, "desiredNumberScheduled": 2}), True),
        (DAEMONSETS, workload("web", {}, {"numberReady": 1, "desiredNumberScheduled": 2}), False),
        (JOBS, workload("web", {}, {}), False),
        (JOBS, workload("web", {}, {"active": 1}), True),
    ],
)
def test_workloads(resource: Resource, obj: dict[str, Any], settled: bool) -> None:
    assert picture(lambda kind: [obj] if kind is resource else []).settled is settled


def test_a_stuck_pod_ends_the_waiting_for_its_workload_and_is_named() -> None:
    objects = {PODS: [pod(**waiting("ErrImagePull"))], DEPLOYMENTS: [workload("web", {}, {})]}
    found = picture(lambda kind: objects.get(kind, []))
    assert found.settled
    assert found.stuck[0].unknown_image
    assert found.complaints() == ["Pod a/web-1 is not ready: ErrImagePull: because"]
