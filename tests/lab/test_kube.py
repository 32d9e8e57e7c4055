"""The Kubernetes facade against a real lab: drill pods, commands, Cilium's objects, flows, and a probe at work."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills.errors import Aborted, InputError, WorldError
from drills.inject.base import Attempt, OutcomeKind
from drills.inject.http import HttpJudge, probe_config
from drills.kube import Cluster, DrillPod, DrillPodSpec, Endpoint, KubeError
from drills.lab import client
from drills.lab.client import LabRequest
from drills.playbook import Denied, HttpInjection

pytestmark = pytest.mark.lab

PROBE = ("python", "-m", "drills.probe")
PATIENCE = 20.0
HTTP_API = "http://http-api.backend"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "XDG_STATE_HOME": str(home), "DRILLS_LAB": "kube-test"}
    with client.held(LabRequest(), environment=environment) as lab:
        yield Cluster.connect(kubeconfig=lab.kubeconfig)


@pytest.fixture(scope="module")
def frontend(cluster: Cluster) -> Iterator[DrillPod]:
    """A drill pod with the identity of the demo's frontend."""
    spec = spec_of("drill-frontend", "frontend", {"app": "frontend"})
    cluster.create_drill_pod(spec)
    yield cluster.wait_running(spec.namespace, spec.name, time.monotonic() + PATIENCE)
    cluster.delete_drill_pod(spec.namespace, spec.name, PATIENCE)


def spec_of(name: str, namespace: str, labels: dict[str, str], **more: object) -> DrillPodSpec:
    base: dict[str, object] = {"run": "run-1", "drill": "admin-path", "lifetime": 300.0}
    return DrillPodSpec(name=name, namespace=namespace, labels=labels, **{**base, **more})  # type: ignore[arg-type]


def ready_endpoint(cluster: Cluster, pod: DrillPod) -> Endpoint:
    until = time.monotonic() + PATIENCE
    while (endpoint := cluster.endpoint(pod.namespace, pod.name)) is None or not endpoint.ready:
        assert time.monotonic() < until
        time.sleep(0.05)
    return endpoint


def attempts_of(cluster: Cluster, pod: DrillPod, injection: HttpInjection) -> list[Attempt]:
    with cluster.exec(pod.namespace, pod.name, PROBE) as stream:
        stream.send(json.dumps(probe_config("test", injection, scale=15)))
        found = []
        for line in stream.lines(time.monotonic() + PATIENCE):
            message = json.loads(line)
            if "ready" in message:
                stream.send(json.dumps({"go": True}))
            if "attempt" in message:
                found.append(Attempt.read(message["attempt"]))
        assert stream.failure() is None
    return found


def test_the_cluster_tells_what_an_auditor_asks(cluster: Cluster) -> None:
    assert cluster.version().startswith("v1.")
    assert len(cluster.uid()) == 36
    assert cluster.user()
    assert cluster.cilium_version().startswith("v1.")
    assert cluster.config_map("kube-system", "drills-lab") is not None
    assert cluster.config_map("kube-system", "none-such") is None
    assert ("CiliumHTTPRequestsDenied", "cilium-security") in cluster.written_rules().expressions


def test_policies_are_valid_and_realised(cluster: Cluster) -> None:
    policies = cluster.policies()
    by_title = {policy.title: policy for policy in policies}
    http = by_title["CiliumNetworkPolicy backend/http-l7-policy"]
    assert http.valid is True
    assert set(http.revisions) == {agent.node for agent in cluster.agents()}
    assert len({policy.sha256 for policy in policies}) == len(policies)


def test_a_drill_pod_carries_the_identity_of_its_twin_and_joins_no_service(
    cluster: Cluster, frontend: DrillPod
) -> None:
    endpoint = ready_endpoint(cluster, frontend)
    (twin,) = cluster.twins("frontend", {"app": "frontend"})
    assert (endpoint.identity, endpoint.address) == (twin.identity, frontend.address)
    assert endpoint.revision is not None
    assert endpoint.enforcing == {"ingress": True, "egress": True}
    spec = spec_of("drill-api", "backend", {"app": "http-api"})
    cluster.create_drill_pod(spec)
    try:
        pod = cluster.wait_running(spec.namespace, spec.name, time.monotonic() + PATIENCE)
        ready_endpoint(cluster, pod)
        service = cluster.service("backend", "http-api")
        assert service is not None
        assert len(service.backends) == 2
        assert pod.address not in {backend.address for backend in service.backends}
    finally:
        cluster.delete_drill_pod(spec.namespace, spec.name, PATIENCE)
    assert cluster.endpoint(spec.namespace, spec.name) is None
    assert cluster.config_map(spec.namespace, spec.name) is None


def test_attack_and_control_of_the_admin_path_and_the_flows_that_show_them(
    cluster: Cluster, frontend: DrillPod
) -> None:
    ready_endpoint(cluster, frontend)
    attack = HttpInjection(source="frontend", url=f"{HTTP_API}/admin/config", rate=5.0, duration=30.0)
    control = HttpInjection(source="frontend", url=f"{HTTP_API}/", rate=1.0, duration=30.0)
    began = time.time()
    made = attempts_of(cluster, frontend, attack)
    judge = HttpJudge(attack, (Denied(status=403),))
    assert Counter(judge.attack(one).name for one in made) == {"http-403": 150}
    allowed = [HttpJudge(control).control(one) for one in attempts_of(cluster, frontend, control)]
    assert Counter(one.kind for one in allowed) == {OutcomeKind.SUCCEEDED: 30}
    found = cluster.hubble_flows(began - 1, ["--verdict", "DROPPED"])
    denied = {flow.l4.source_port for flow in found.flows if flow.denied and flow.l4 is not None}
    assert denied == {one.local_port for one in made}
    assert not found.partial


def test_a_path_that_no_policy_allows_times_out_in_connect(cluster: Cluster, frontend: DrillPod) -> None:
    ready_endpoint(cluster, frontend)
    injection = HttpInjection(
        source="frontend", url="http://database.database:5432/", rate=1.0, duration=10.0, timeout=1.0
    )
    judge = HttpJudge(injection, (Denied(connect="timeout"),))
    made = attempts_of(cluster, frontend, injection)
    assert Counter(judge.attack(one).name for one in made) == {"connect-timeout": 10}


def test_commands_end_with_their_output_and_their_status(cluster: Cluster, frontend: DrillPod) -> None:
    where = (frontend.namespace, frontend.name)
    code = "import sys; print('a\\nb'); print('why', file=sys.stderr); sys.exit(int(sys.argv[1]))"
    assert cluster.run(*where, ["python", "-c", code, "0"]).lines == ("a", "b")
    with pytest.raises(WorldError, match="failed: it ended with status 3: why"):
        cluster.run(*where, ["python", "-c", code, "3"])
    with pytest.raises(WorldError, match="executable file not found"):
        cluster.run(*where, ["none-such"])
    with pytest.raises(KubeError, match=r'pods "none-such" not found \(404\)'):
        cluster.run(frontend.namespace, "none-such", ["true"])
    with pytest.raises(WorldError, match="it did not end"):
        cluster.run(*where, ["sleep", "60"], seconds=0.2)


def test_long_output_arrives_whole(cluster: Cluster, frontend: DrillPod) -> None:
    code = "for i in range(20000): print(i, 'é' * 40)"
    lines = cluster.run(frontend.namespace, frontend.name, ["python", "-X", "utf8", "-c", code]).lines
    assert len(lines) == 20000
    assert lines[-1] == "19999 " + "é" * 40


def test_input_stays_open_and_closing_it_ends_the_command(cluster: Cluster, frontend: DrillPod) -> None:
    code = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)"
    with cluster.exec(frontend.namespace, frontend.name, ["python", "-c", code]) as stream:
        stream.send("abc")
        lines = stream.lines(time.monotonic() + PATIENCE)
        assert next(lines) == "cba"
        threading.Timer(0.05, stream.send, ["xyz"]).start()
        assert next(lines) == "zyx"
    until = time.monotonic() + PATIENCE
    while "sys.stdin" in "\n".join(cluster.run(frontend.namespace, frontend.name, ["ps", "-eo", "args"]).lines):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_stop_ends_the_waiting(cluster: Cluster, frontend: DrillPod) -> None:
    stop = threading.Event()
    with cluster.exec(frontend.namespace, frontend.name, ["sleep", "60"]) as stream:
        threading.Timer(0.1, stop.set).start()
        assert list(stream.lines(time.monotonic() + PATIENCE, stop)) == []
        assert stream.failure() == "it did not end"


def test_pods_that_will_not_run_are_given_up_with_the_reason(cluster: Cluster) -> None:
    spec = spec_of("drill-image", "frontend", {"app": "x"}, image="none-such:1")
    cluster.create_drill_pod(spec)
    try:
        with pytest.raises(WorldError, match="Pod frontend/drill-image does not run: Err"):
            cluster.wait_running(spec.namespace, spec.name, time.monotonic() + PATIENCE)
    finally:
        cluster.delete_drill_pod(spec.namespace, spec.name, PATIENCE)
    with pytest.raises(KubeError, match="not found"):
        cluster.wait_running("frontend", "none-such", time.monotonic() + PATIENCE)
    with pytest.raises(WorldError, match="uses the node's network"):
        cluster.wait_running("kube-system", cluster.agents()[0].pod, time.monotonic() + PATIENCE)


def test_an_interrupt_ends_the_waiting_for_a_pod(cluster: Cluster) -> None:
    stop = threading.Event()
    stop.set()
    spec = spec_of("drill-late", "frontend", {"app": "x"})
    cluster.create_drill_pod(spec)
    try:
        with pytest.raises(Aborted):
            cluster.wait_running(spec.namespace, spec.name, time.monotonic() + PATIENCE, stop)
    finally:
        cluster.delete_drill_pod(spec.namespace, spec.name, PATIENCE)


def test_what_is_no_drill_pod_is_left_alone_and_what_is_gone_is_gone(cluster: Cluster) -> None:
    with pytest.raises(WorldError, match="is no drill pod; it is left alone"):
        cluster.delete_drill_pod("kube-system", cluster.agents()[0].pod, 1.0)
    cluster.delete_drill_pod("frontend", "drill-gone", 1.0)


def test_a_namespace_that_is_not_there_and_a_name_that_is_taken(cluster: Cluster, frontend: DrillPod) -> None:
    with pytest.raises(KubeError, match=r"could not create drill pod none-such/x: .*not found \(404\)"):
        cluster.create_drill_pod(spec_of("x", "none-such", {"app": "x"}))
    with pytest.raises(KubeError, match=r"already exists \(409\)"):
        cluster.create_drill_pod(spec_of(frontend.name, "frontend", {"app": "x"}))
    assert cluster.wait_running("frontend", frontend.name, time.monotonic() + 1) == frontend


def test_contexts_and_files_that_are_not_there(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no kubeconfig"):
        Cluster.connect(kubeconfig=tmp_path / "none")
    with pytest.raises(InputError, match='has no context "x"; it has'):
        Cluster.connect(kubeconfig=Path(cluster.kubeconfig or ""), context="x")
