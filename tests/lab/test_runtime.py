"""Real pods, Services and workloads: runtime_driver.py does the work in namespaces of its own, once for all tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.lab

DRIVER = Path(__file__).with_name("runtime_driver.py")
UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]


def drive(*more: str) -> dict[str, Any]:
    inside = f"mount -t tmpfs tmpfs /run && exec {sys.executable} -X dev -W error {DRIVER}"
    root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = [*UNSHARE, *root, *more, "sh", "-c", inside]
    env = {**os.environ, "PYTHONPATH": str(DRIVER.parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    return drive()


def condition(status: dict[str, Any], kind: str) -> str:
    return next(str(entry["status"]) for entry in status["conditions"] if entry["type"] == kind)


def waiting(status: dict[str, Any]) -> dict[str, str]:
    found = status["containerStatuses"][0]["state"]["waiting"]
    assert isinstance(found, dict)
    return found


def test_workloads_come_up(seen: dict[str, Any]) -> None:
    assert seen["up"]
    assert set(seen["nodes of web"]) == {"k8s-w1", "k8s-w2"}
    assert seen["job"]["succeeded"] == 1
    assert seen["job"]["conditions"][0]["type"] == "Complete"


def test_without_root() -> None:
    seen = drive("--user", "--map-root-user")
    assert seen["up"]
    assert seen["psql"] == [0, "2\n", ""]
    assert seen["swept"]


def test_unknown_image_is_named_with_what_there_is(seen: dict[str, Any]) -> None:
    state = waiting(seen["status"]["unknown-image"])
    assert state["reason"] == "ErrImagePull"
    assert "example.com/nobody/knows:1" in state["message"]
    assert "traefik/whoami" in state["message"]
    assert condition(seen["status"]["unknown-image"], "Ready") == "False"


def test_missing_secret_is_said_and_waited_for(seen: dict[str, Any]) -> None:
    expected = {"reason": "CreateContainerConfigError", "message": 'secret "nope" not found'}
    assert waiting(seen["status"]["no-secret"]) == expected
    assert ["no-secret", "Failed", f"Error: {expected['reason']}: {expected['message']}"] in seen["events"]


def test_volumes_init_containers_and_fields(seen: dict[str, Any]) -> None:
    lines = seen["log"]["files"].splitlines()
    assert lines[0] == "s3cretmefrom-init"
    assert lines[2].startswith("files@k8s-w")
    assert seen["status"]["files"]["phase"] == "Failed"


def test_containers_cannot_harm_the_machine(seen: dict[str, Any]) -> None:
    assert "Read-only file system" in seen["log"]["files"]
    status, _, text = seen["harmless"]
    assert status != 0
    assert text.count("Read-only") + text.count("ermi") == 3  # rm, mount, ip: each refused


def test_deadline_ends_a_pod(seen: dict[str, Any]) -> None:
    assert seen["status"]["late"]["phase"] == "Failed"
    assert seen["status"]["late"]["reason"] == "DeadlineExceeded"


def test_crash_loop(seen: dict[str, Any]) -> None:
    container = seen["status"]["crashing"]["containerStatuses"][0]
    assert container["restartCount"] >= 1
    assert container["lastState"]["terminated"]["exitCode"] == 3
    assert seen["previous log"] == "run\n"


def test_readiness_gate_keeps_a_pod_out_of_its_service(seen: dict[str, Any]) -> None:
    gated = seen["status"]["gated"]
    assert condition(gated, "ContainersReady") == "True"
    assert condition(gated, "Ready") == "False"
    (subset,) = seen["endpoints"]
    assert gated["podIP"] in [entry["ip"] for entry in subset["notReadyAddresses"]]
    assert gated["podIP"] not in "".join(seen["answers"])


def test_cluster_ip_reaches_every_ready_pod_and_keeps_the_source(seen: dict[str, Any]) -> None:
    answering = {line[4:] for answer in seen["answers"] for line in answer.splitlines() if line.startswith("IP: ")}
    assert answering == set(seen["web pods"])
    assert all("GET /x?y HTTP/1.1" in answer and "RemoteAddr: 10.244." in answer for answer in seen["answers"])
    (piece,) = seen["slices"]
    assert [entry["conditions"]["ready"] for entry in piece["endpoints"]].count(True) == 2


def test_service_without_pods_refuses(seen: dict[str, Any]) -> None:
    assert seen["nobody"][0] == 7  # curl: connection refused
    assert seen["no backend"][0] == 7


def test_pod_reaches_itself_through_its_service(seen: dict[str, Any]) -> None:
    assert seen["hairpin"] == [0] * 6


def test_postgres_with_its_password(seen: dict[str, Any]) -> None:
    assert seen["psql"] == [0, "2\n", ""]
    assert "password authentication failed" in seen["psql wrong"][2]


def test_claims_outlive_their_pods(seen: dict[str, Any]) -> None:
    assert seen["replaced"]
    assert seen["data"] == [0, "seeded\nwritten\n", ""]


def test_liveness_starts_again(seen: dict[str, Any]) -> None:
    assert seen["sick"]["restartCount"] >= 1
    assert ["sick", "Killing", "Container main failed liveness probe, will be restarted"] in seen["events"]


def test_whoami_answers_every_method(seen: dict[str, Any]) -> None:
    assert set(seen["methods"].values()) == {"200"}


def test_nginx_with_a_configuration_of_the_users(seen: dict[str, Any]) -> None:
    assert seen["guarded"] == [0, "no\n403", ""]


def test_exec_streams_status_and_terminal(seen: dict[str, Any]) -> None:
    assert seen["exec"] == [5, "typed\n", "err\n"]
    assert seen["tty"][1].startswith("/dev/pts/")
    assert seen["signal"][0] == 137
    assert seen["killed"] == 137
    assert "sleep 1000" not in seen["left"]


def test_exec_says_what_is_wrong(seen: dict[str, Any]) -> None:
    assert seen["missing"] == 'exec: "nope": executable file not found in $PATH'
    assert seen["not running"] == "container main of pod no-secret is not running"
    assert "hubble" in seen["no builtin"]


def test_builtin_commands(seen: dict[str, Any]) -> None:
    assert seen["builtin"] == [7, "k8s-w2 /usr/bin/hubble observe\n", "in"]
    assert seen["status"]["agent"]["podIP"] == "172.18.0.12"


def test_own_image_has_the_project(seen: dict[str, Any]) -> None:
    status, version, _ = seen["python"]
    assert status == 0
    assert version.strip()


def test_names_in_a_pod(seen: dict[str, Any]) -> None:
    _, text, _ = seen["names"]
    assert text.startswith("client\n")
    assert "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n" in text


def test_rollout_keeps_the_service_up(seen: dict[str, Any]) -> None:
    assert seen["rolled"]
    assert seen["least while rolling"] == 2
    assert seen["revisions"] == [["1", 0], ["2", 2]]
    assert seen["kept"] == 1  # the pod that belongs to somebody else


def test_opened_gate_lets_the_pod_join(seen: dict[str, Any]) -> None:
    assert seen["gate opened"]
    assert seen["joined"]


def test_nothing_is_left(seen: dict[str, Any]) -> None:
    assert seen["scaled down"]
    assert seen["swept"]
    assert seen["netns"] == ["k8s-w1", "k8s-w2", "world"]
    assert seen["links"] == []
    assert seen["files"] == []
