"""The API as its judges see it: each kubectl that is here, against a real server over TLS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_support import KUBECTLS, Kubectl, RunningApi, running_api

from drills.lab.api.resources import CNP, DEPLOYMENTS, PODS

pytestmark = pytest.mark.lab

MANIFESTS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: traefik/whoami, env: [{name: A, value: "1"}, {name: B, value: "2"}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {containers: [{name: main, image: "curlimages/curl:8"}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress: [{fromEndpoints: [{matchLabels: {app: client}}]}]
"""
PRUNED = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: pruned, namespace: shop}
spec:
  endpointSelector: {}
  ingress: [{fromEndpoints: [{namespaceSelector: {}}]}]
"""
UNKNOWN = 'unknown field "spec.ingress[0].fromEndpoints[0].namespaceSelector"'


@pytest.fixture(scope="module", params=KUBECTLS, ids=lambda path: str(path.parent.parent.name))
def program(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture(scope="module")
def api(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    with running_api(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture(scope="module")
def kubectl(program: Path, api: RunningApi) -> Kubectl:
    made = Kubectl(program, api)
    made("apply", "-f", "-", stdin=MANIFESTS)
    return made


def test_applying_again_changes_nothing(kubectl: Kubectl) -> None:
    said = kubectl("apply", "-f", "-", stdin=MANIFESTS).splitlines()
    assert len(said) == 4
    assert all(line.endswith(" unchanged") for line in said)


def test_apply_merges_and_removes(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=MANIFESTS.replace('{name: B, value: "2"}', '{name: C, value: "3"}'))
    env = kubectl.json("-n", "shop", "get", "deploy", "web")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env == [{"name": "A", "value": "1"}, {"name": "C", "value": "3"}]
    kubectl("apply", "-f", "-", stdin=MANIFESTS)


def test_a_dry_run_stores_nothing(kubectl: Kubectl) -> None:
    said = kubectl("apply", "--dry-run=server", "-f", "-", stdin=MANIFESTS.replace("replicas: 2", "replicas: 7"))
    assert "deployment.apps/web configured (server dry run)" in said
    assert kubectl("-n", "shop", "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    assert kubectl.run("-n", "shop", "create", "--dry-run=server", "-f", "-", stdin=PRUNED).returncode == 1


def test_validation_strict_warn_and_off(kubectl: Kubectl) -> None:
    strict = kubectl.run("apply", "-f", "-", stdin=PRUNED)
    assert strict.returncode == 1
    assert f"strict decoding error: {UNKNOWN}" in strict.stderr
    warned = kubectl.run("apply", "--validate=warn", "-f", "-", stdin=PRUNED)
    assert warned.returncode == 0
    assert f"Warning: {UNKNOWN}" in warned.stderr
    stored = kubectl.json("-n", "shop", "get", "cnp", "pruned")
    assert stored["spec"]["ingress"] == [{"fromEndpoints": [{}]}]
    silent = kubectl.run("apply", "--validate=false", "-f", "-", stdin=PRUNED.replace("name: pruned", "name: silent"))
    assert (silent.returncode, silent.stderr) == (0, "")
    kubectl("-n", "shop", "delete", "cnp", "pruned", "silent")


def test_an_invalid_object_tells_all_reasons(kubectl: Kubectl) -> None:
    done = kubectl.run("apply", "-f", "-", stdin=MANIFESTS.split("---")[2].replace("client", "Bad_Name"))
    assert done.returncode == 1
    assert "a lowercase RFC 1123 subdomain must consist of" in done.stderr
    unknown = kubectl.run("apply", "-f", "-", stdin="kind: Nonsense\napiVersion: x/v1\nmetadata: {name: odd}")
    assert 'no matches for kind "Nonsense"' in unknown.stderr


def test_selectors_and_output_formats(kubectl: Kubectl) -> None:
    assert kubectl("-n", "shop", "get", "pods", "-l", "app in (client)", "-o", "name") == "pod/client\n"
    assert kubectl("-n", "shop", "get", "pods", "-l", "app=web", "-o", "name") == ""
    assert kubectl("get", "pods", "-A", "--field-selector", "metadata.namespace=shop", "-o", "name") == "pod/client\n"
    assert "kind: Pod" in kubectl("-n", "shop", "get", "pod", "client", "-o", "yaml")
    heading = kubectl("-n", "shop", "get", "pods", "-o", "wide").splitlines()[0].split("  ")
    assert [part.strip() for part in heading if part.strip()] == [
        "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES",
    ]  # fmt: skip
    assert "deployment.apps/web" in kubectl("-n", "shop", "get", "all")
    missing = kubectl.run("-n", "shop", "get", "pod", "nobody")
    assert 'Error from server (NotFound): pods "nobody" not found' in missing.stderr


def test_policies_show_whether_they_are_valid(kubectl: Kubectl, api: RunningApi) -> None:
    condition = {"type": "Valid", "status": "True", "lastTransitionTime": "2026-11-22T12:00:00Z"}
    api.call(lambda: api.store.set_status(CNP, "shop", "web", {"conditions": [condition]}))
    heading, row = kubectl("-n", "shop", "get", "cnp").splitlines()
    assert heading.split() == ["NAME", "AGE", "VALID"]
    assert row.split()[::2] == ["web", "True"]


def test_label_annotate_and_the_patches(kubectl: Kubectl) -> None:
    kubectl("-n", "shop", "label", "pod", "client", "tier=front")
    kubectl("-n", "shop", "annotate", "cnp", "web", "note=x")
    assert kubectl("-n", "shop", "get", "pods", "-l", "tier=front", "-o", "name") == "pod/client\n"
    kubectl("-n", "shop", "label", "pod", "client", "tier-")
    strategic = '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"nginx"}]}}}}'
    kubectl("-n", "shop", "patch", "deploy", "web", "-p", strategic)
    container = kubectl.json("-n", "shop", "get", "deploy", "web")["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], len(container["env"])) == ("nginx", 2)
    kubectl("-n", "shop", "patch", "cnp", "web", "--type=merge", "-p", '{"spec":{"description":"d"}}')
    kubectl("-n", "shop", "patch", "cnp", "web", "--type=json", "-p", '[{"op":"remove","path":"/spec/description"}]')
    refused = kubectl.run("-n", "shop", "patch", "cnp", "web", "-p", '{"spec":{"description":"d"}}')
    assert "strategic-merge-patch+json is not supported" in refused.stderr
    kubectl("-n", "shop", "scale", "deploy", "web", "--replicas=3")
    assert kubectl("-n", "shop", "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "3"


def test_a_stale_replace_is_a_conflict(kubectl: Kubectl) -> None:
    stale = kubectl.json("-n", "shop", "get", "cnp", "web")
    kubectl("-n", "shop", "annotate", "cnp", "web", f"at={time.time()}")
    done = kubectl.run("replace", "-f", "-", stdin=json.dumps(stale))
    assert "(Conflict)" in done.stderr
    assert "the object has been modified" in done.stderr


def test_server_side_apply_says_what_it_is(kubectl: Kubectl) -> None:
    done = kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=MANIFESTS)
    assert done.returncode == 0, done.stderr
    assert "last writer wins" in done.stderr


def test_explain(kubectl: Kubectl) -> None:
    assert "FIELD: fromEndpoints <[]Object>" in kubectl("explain", "cnp.spec.ingress.fromEndpoints")
    assert "List of containers belonging to the pod" in kubectl("explain", "pod.spec.containers")
    assert "keep_firing_for" in kubectl("explain", "prometheusrule.spec.groups.rules")


def test_exec(kubectl: Kubectl, api: RunningApi) -> None:
    done = kubectl.run("-n", "shop", "exec", "client", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert done.stderr.startswith("err\n")
    assert (
        kubectl("-n", "shop", "exec", "-i", "client", "--", "sh", "-c", "cat; echo end", stdin="a\nb\n")
        == "a\nb\nend\n"
    )
    big = "x" * 300_000
    assert kubectl("-n", "shop", "exec", "-i", "client", "--", "cat", stdin=big) == big
    missing = kubectl.run("-n", "shop", "exec", "client", "--", "no-such-program")
    assert missing.returncode == 1
    assert "executable file not found" in missing.stderr
    nobody = kubectl.run("-n", "shop", "exec", "client", "-c", "side", "--", "true")
    assert "container side is not valid for pod client" in nobody.stderr


def test_a_command_ends_when_its_client_leaves(kubectl: Kubectl, api: RunningApi) -> None:
    running = kubectl.open("-n", "shop", "exec", "client", "--", "sh", "-c", "echo started; exec sleep 600")
    assert running.stdout is not None
    assert running.stdout.readline() == "started\n"
    running.kill()
    running.communicate()
    last = api.containers.processes[-1]
    deadline = time.monotonic() + 10
    while last.exit_status is None:
        assert time.monotonic() < deadline, "the command went on"
        time.sleep(0.05)


def test_debug_adds_a_container(kubectl: Kubectl) -> None:
    kubectl("-n", "shop", "debug", "client", "--image=busybox", "--container=box", "--", "sleep", "1")
    (box,) = kubectl.json("-n", "shop", "get", "pod", "client")["spec"]["ephemeralContainers"]
    assert (box["name"], box["image"]) == ("box", "busybox")
    kubectl.run("-n", "shop", "debug", "client", "--image=alpine", "--container=box", "--", "sleep", "2")
    assert kubectl.json("-n", "shop", "get", "pod", "client")["spec"]["ephemeralContainers"] == [box]


def test_logs(kubectl: Kubectl, api: RunningApi) -> None:
    api.containers.start([b"one\n", b"two\n"])
    assert kubectl("-n", "shop", "logs", "client", "--tail=1") == "two\n"
    following = kubectl.open("-n", "shop", "logs", "-f", "client")
    assert following.stdout is not None
    assert [following.stdout.readline(), following.stdout.readline()] == ["one\n", "two\n"]
    api.call(lambda: api.containers.write(b"three\n", last=True))
    assert following.communicate(timeout=20)[0] == "three\n"
    previous = kubectl.run("-n", "shop", "logs", "-p", "client")
    assert "previous terminated container" in previous.stderr


def test_watching(kubectl: Kubectl) -> None:
    watching = kubectl.open("-n", "shop", "get", "cm", "-l", "watch=me", "-w", "--output-watch-events")
    kubectl.run("-n", "shop", "delete", "cm", "seen")
    manifest = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: seen, namespace: shop, labels: {watch: me}}"
    kubectl("apply", "-f", "-", stdin=manifest)
    assert watching.stdout is not None
    first = watching.stdout.readline()
    if first.startswith("EVENT"):
        first = watching.stdout.readline()
    kubectl("-n", "shop", "label", "cm", "seen", "watch-")
    second = watching.stdout.readline()
    watching.kill()
    watching.communicate()
    assert [line.split()[0] for line in (first, second)] == ["ADDED", "DELETED"]


def test_waiting_and_rollout_status(kubectl: Kubectl, api: RunningApi) -> None:
    waiting = kubectl.open("-n", "shop", "wait", "pod/client", "--for=condition=Ready", "--timeout=20s")
    rolling = kubectl.open("-n", "shop", "rollout", "status", "deploy/web", "--timeout=20s")
    ready = {"type": "Ready", "status": "True"}
    api.call(lambda: api.store.set_status(PODS, "shop", "client", {"phase": "Running", "conditions": [ready]}))
    web = api.call(lambda: api.store.get(DEPLOYMENTS, "shop", "web"))
    count = web["spec"]["replicas"]
    status = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
    status["observedGeneration"] = web["metadata"]["generation"]
    api.call(lambda: api.store.set_status(DEPLOYMENTS, "shop", "web", status))
    assert waiting.communicate(timeout=30)[0] == "pod/client condition met\n"
    assert 'deployment "web" successfully rolled out' in rolling.communicate(timeout=30)[0]


def test_typed_commands_speak_protobuf(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "typed")
    kubectl("-n", "typed", "create", "secret", "generic", "key", "--from-literal=password=s3cret")
    kubectl("-n", "typed", "create", "configmap", "settings", "--from-literal=a=b")
    deployment = ("-n", "typed", "create", "deployment", "d", "--image=nginx", "--port=80", "--replicas=0")
    kubectl("apply", "-f", "-", stdin=kubectl(*deployment, "--dry-run=client", "-o", "yaml"))
    kubectl("-n", "typed", "create", "serviceaccount", "robot")
    assert kubectl.json("-n", "typed", "get", "secret", "key")["data"] == {"password": "czNjcmV0"}
    assert kubectl.json("-n", "typed", "get", "cm", "settings")["data"] == {"a": "b"}
    spec = kubectl.json("-n", "typed", "get", "deploy", "d")["spec"]
    assert spec["replicas"] == 0
    assert spec["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] == 80
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert "kubernetes-admin" in kubectl("auth", "whoami")
    assert len(kubectl("-n", "typed", "create", "token", "robot").strip()) > 30


def test_describe(kubectl: Kubectl) -> None:
    for kind, name in (("pod", "client"), ("deploy", "web"), ("cnp", "web"), ("sa", "default")):
        assert name in kubectl("-n", "shop", "describe", kind, name)
    assert "Active" in kubectl("describe", "ns", "shop")


def test_deleting_a_namespace_and_all_in_it(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=MANIFESTS.replace("shop", "gone"))
    kubectl("delete", "--timeout=20s", "-f", "-", stdin=MANIFESTS.replace("shop", "gone"))
    assert kubectl.run("get", "ns", "gone").returncode == 1
    assert kubectl("-n", "gone", "get", "cnp,deploy,pods,sa", "-o", "name") == ""
