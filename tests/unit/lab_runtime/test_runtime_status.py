"""Pod status from a kubelet's facts."""

from __future__ import annotations

from typing import Any

import pytest

from drills.lab.api.types import Obj
from drills.lab.runtime.probes import Threshold
from drills.lab.runtime.sandbox import DEFAULT_CAPABILITIES, capabilities_of
from drills.lab.runtime.status import ContainerState, Facts, phase_of, pod_status

RUNNING: Obj = {"running": {"startedAt": "t"}}
NOW = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T00:00:09Z"


def ended(code: int) -> Obj:
    return {"terminated": {"exitCode": code}}


def container(state: Obj, *, ready: bool = False) -> ContainerState:
    return ContainerState("main", "nginx", state, ready=ready, container_id="x" if "waiting" not in state else "")


def facts(*states: Obj, ready: bool = False, **more: Any) -> Facts:
    return Facts("172.18.0.11", NOW, initialized=True, containers=[container(s, ready=ready) for s in states], **more)


def pod(policy: str = "Always", *, gates: tuple[str, ...] = (), conditions: tuple[Obj, ...] = ()) -> Obj:
    return {
        "metadata": {"name": "p", "generation": 1},
        "spec": {"restartPolicy": policy, "readinessGates": [{"conditionType": gate} for gate in gates]},
        "status": {"conditions": list(conditions)},
    }


def conditions(obj: Obj, known: Facts, now: str = NOW) -> dict[str, Obj]:
    return {entry["type"]: entry for entry in pod_status(obj, known, now)["conditions"]}


@pytest.mark.parametrize(
    ("policy", "states", "phase"),
    [
        ("Always", [RUNNING], "Running"),
        ("Always", [{"waiting": {"reason": "ErrImagePull"}}], "Pending"),
        ("Always", [ended(0)], "Running"),
        ("Never", [ended(0)], "Succeeded"),
        ("Never", [ended(0), ended(3)], "Failed"),
        ("Never", [ended(0), RUNNING], "Running"),
        ("OnFailure", [ended(3)], "Running"),
        ("OnFailure", [ended(0)], "Succeeded"),
    ],
)
def test_phase(policy: str, states: list[Obj], phase: str) -> None:
    assert phase_of(pod(policy), facts(*states)) == phase


def test_phase_while_init_containers_run() -> None:
    known = Facts("h", NOW, init=[container(ended(1))], containers=[container({"waiting": {}})])
    assert phase_of(pod("Never"), known) == "Failed"
    assert phase_of(pod("Always"), known) == "Pending"


def test_ready_needs_containers_and_every_gate() -> None:
    assert conditions(pod(), facts(RUNNING))["Ready"]["status"] == "False"
    assert conditions(pod(), facts(RUNNING, ready=True))["Ready"]["status"] == "True"
    gated = conditions(pod(gates=("drills/never",)), facts(RUNNING, ready=True))
    assert gated["ContainersReady"]["status"] == "True"
    assert (gated["Ready"]["status"], gated["Ready"]["reason"]) == ("False", "ReadinessGatesNotReady")
    opened = pod(gates=("drills/never",), conditions=({"type": "drills/never", "status": "True"},))
    assert conditions(opened, facts(RUNNING, ready=True))["Ready"]["status"] == "True"


def test_conditions_of_others_stay_and_times_change_with_the_status_only() -> None:
    theirs = {"type": "example.com/x", "status": "Unknown", "lastTransitionTime": "long ago"}
    first = pod_status(pod(conditions=(theirs,)), facts(RUNNING), NOW)
    assert theirs in first["conditions"]
    again = {**pod(), "status": first}
    later = conditions(again, facts(RUNNING, ready=True), LATER)
    assert later["Ready"]["lastTransitionTime"] == LATER
    assert later["Initialized"]["lastTransitionTime"] == NOW


def test_status_settles() -> None:
    first = pod_status(pod(), facts(RUNNING, ready=True, pod_ip="10.244.1.10"), NOW)
    assert pod_status({**pod(), "status": first}, facts(RUNNING, ready=True, pod_ip="10.244.1.10"), LATER) == first


def test_kubelets_verdict_wins() -> None:
    status = pod_status(pod(), facts(RUNNING, failed=("DeadlineExceeded", "too long")), NOW)
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "DeadlineExceeded", "too long")


def test_probe_thresholds() -> None:
    threshold = Threshold(success=2, failure=3)
    results = [False, False, True, True, True, False, False, True, False, False, False, False]
    changes = [threshold.note(good=good) for good in results]
    assert [index for index, changed in enumerate(changes) if changed] == [3, 10]
    assert threshold.settled is False


def test_capabilities() -> None:
    assert set(capabilities_of({})) == set(DEFAULT_CAPABILITIES)
    assert capabilities_of({"securityContext": {"capabilities": {"drop": ["ALL"]}}}) == ()
    changed = {"drop": ["ALL"], "add": ["NET_RAW", "CAP_NET_ADMIN", "SYS_ADMIN"]}
    assert capabilities_of({"securityContext": {"capabilities": changed}}) == ("net_admin", "net_raw")
