"""What ``kubectl get`` prints."""

from __future__ import annotations

from typing import Any

import pytest

from drills.lab.api.columns import COLUMNS, human
from drills.lab.api.pod_columns import pod_reason
from drills.lab.api.resources import ALL, CNP, EVENTS, PODS, SERVICES, Resource
from drills.lab.api.tables import table


def cells(resource: Resource, obj: dict[str, Any], *, wide: bool = False) -> dict[str, Any]:
    made = table(resource, [obj], revision="7")
    columns = [c["name"] for c in made["columnDefinitions"]]
    values = dict(zip(columns, made["rows"][0]["cells"], strict=True))
    shown = {c["name"] for c in made["columnDefinitions"] if wide or not c["priority"]}
    return {name: value for name, value in values.items() if name in shown and name != "Age"}


@pytest.mark.parametrize(("seconds", "text"), [
    (-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (135, "2m15s"), (600, "10m"), (10800, "3h"),
    (11220, "3h7m"), (86400, "24h"), (172800, "2d"), (176400, "2d1h"), (864000, "10d"),
])  # fmt: skip
def test_ages(seconds: int, text: str) -> None:
    assert human(seconds) == text


@pytest.mark.parametrize("resource", ALL, ids=lambda r: r.plural)
def test_every_kind_prints_an_object_of_which_nothing_is_known(resource: Resource) -> None:
    assert resource in COLUMNS
    assert cells(resource, {"metadata": {"name": "x"}, "roleRef": {}}, wide=True)["Name"] == "x"


def test_policies_show_whether_they_are_valid() -> None:
    conditions = [{"type": "Valid", "status": "False", "message": "rule must have at least one of Ingress"}]
    assert cells(CNP, {"metadata": {"name": "p"}, "status": {"conditions": conditions}}) == {
        "Name": "p",
        "Valid": "False",
    }
    assert cells(CNP, {"metadata": {"name": "p"}}) == {"Name": "p", "Valid": ""}


def test_services_show_their_ports() -> None:
    spec = {"type": "ClusterIP", "clusterIP": "10.96.0.7", "selector": {"app": "a"},
            "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "nodePort": 30053}]}  # fmt: skip
    shown = cells(SERVICES, {"metadata": {"name": "s"}, "spec": spec}, wide=True)
    assert shown["Port(s)"] == "80/TCP,53:30053/UDP"
    assert shown["Selector"] == "app=a"


def test_events_put_their_name_last() -> None:
    made = table(EVENTS, [], revision="1")
    assert made["columnDefinitions"][0]["name"] == "Last Seen"
    assert made["columnDefinitions"][-1]["name"] == "Name"


def in_state(**state: Any) -> dict[str, Any]:
    return {"status": {"phase": "Running", "containerStatuses": [{"ready": "running" in state, "state": state}]}}


@pytest.mark.parametrize(("pod", "reason"), [
    ({"status": {"phase": "Pending"}}, "Pending"),
    (in_state(waiting={"reason": "ErrImagePull"}), "ErrImagePull"),
    (in_state(terminated={"exitCode": 3}), "ExitCode:3"),
    (in_state(terminated={"reason": "Completed"}), "Completed"),
    ({"status": {"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}]}}, "Init:0/1"),
    ({"metadata": {"deletionTimestamp": "x"}, "status": {"phase": "Running"}}, "Terminating"),
    (in_state(running={}), "Running"),
])  # fmt: skip
def test_the_status_of_pods(pod: dict[str, Any], reason: str) -> None:
    assert pod_reason(pod) == reason


def test_pods_count_containers_and_gates() -> None:
    pod = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{}, {}], "readinessGates": [{"conditionType": "drills/never"}], "nodeName": "k8s-w1"},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"ready": True, "restartCount": 2, "state": {"running": {}}}],
        },
    }
    shown = cells(PODS, pod, wide=True)
    assert (shown["Ready"], shown["Restarts"], shown["Readiness Gates"], shown["Node"]) == ("1/2", "2", "0/1", "k8s-w1")
