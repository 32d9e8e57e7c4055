"""The API as the official Python client sees it."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from api_support import RunningApi, running_api
from kubernetes import client, config, stream, watch
from kubernetes.client.exceptions import ApiException

from drills.lab.api.resources import CONFIGMAPS

pytestmark = pytest.mark.lab

POD = {
    "metadata": {"name": "client", "labels": {"app": "client"}},
    "spec": {"containers": [{"name": "main", "image": "curlimages/curl:8"}]},
}
POLICY: dict[str, Any] = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {"name": "web"},
    "spec": {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{"namespaceSelector": {}}]}]},
}
CILIUM = ("cilium.io", "v2", "default", "ciliumnetworkpolicies")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    with running_api(tmp_path_factory.mktemp("api"), history=32) as running:
        yield running


@pytest.fixture
def connection(api: RunningApi) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(api.config)) as made:
        yield made


@pytest.fixture
def core(connection: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(connection)


@pytest.fixture
def pod(core: client.CoreV1Api) -> Iterator[str]:
    core.create_namespaced_pod("default", POD)
    yield "client"
    core.delete_namespaced_pod("client", "default")


@pytest.fixture
def settings(core: client.CoreV1Api) -> Iterator[str]:
    core.create_namespaced_config_map("default", {"metadata": {"name": "settings"}, "data": {"a": "1"}})
    yield "settings"
    core.delete_namespaced_config_map("settings", "default")


def test_objects_come_and_go(core: client.CoreV1Api, pod: str) -> None:
    found = core.list_namespaced_pod("default", label_selector="app=client", field_selector="status.phase=Pending")
    assert [item.metadata.name for item in found.items] == [pod]
    assert found.items[0].spec.service_account_name == "default"
    patched = core.patch_namespaced_pod(pod, "default", {"metadata": {"labels": {"tier": "x"}}})
    assert patched.metadata.labels == {"app": "client", "tier": "x"}
    with pytest.raises(ApiException) as caught:
        core.read_namespaced_pod("nobody", "default")
    assert caught.value.status == 404


def test_field_validation_of_custom_objects(connection: client.ApiClient) -> None:
    custom = client.CustomObjectsApi(connection)
    with pytest.raises(ApiException) as caught:
        custom.create_namespaced_custom_object(*CILIUM, POLICY, field_validation="Strict")
    assert caught.value.status == 400
    assert "namespaceSelector" in caught.value.body
    with pytest.raises(ApiException) as caught:
        custom.create_namespaced_custom_object(*CILIUM, {**POLICY, "spec": {"ingress": "all"}})
    assert caught.value.status == 422
    tried = custom.create_namespaced_custom_object(*CILIUM, POLICY, dry_run="All")
    assert tried["spec"]["ingress"] == [{"fromEndpoints": [{}]}]
    assert custom.list_namespaced_custom_object(*CILIUM)["items"] == []
    custom.create_namespaced_custom_object(*CILIUM, POLICY)
    custom.patch_namespaced_custom_object(*CILIUM, "web", {"spec": {"description": "d"}})
    assert custom.get_namespaced_custom_object(*CILIUM, "web")["spec"]["description"] == "d"
    custom.delete_namespaced_custom_object(*CILIUM, "web")


def test_of_two_writers_one_is_told(core: client.CoreV1Api, settings: str) -> None:
    read = core.read_namespaced_config_map(settings, "default")
    tries = 8

    def write(number: int) -> int:
        try:
            meta = {"name": settings, "resourceVersion": read.metadata.resource_version}
            core.replace_namespaced_config_map(settings, "default", {"metadata": meta, "data": {"a": str(number + 2)}})
        except ApiException as error:
            return int(error.status)
        return 200

    with ThreadPoolExecutor(tries) as pool:
        answers = sorted(pool.map(write, range(tries)))
    assert answers == [200] + [409] * (tries - 1)


def test_a_watch_resumes(core: client.CoreV1Api, settings: str) -> None:
    start = core.list_namespaced_config_map("default").metadata.resource_version
    for value in ("2", "3"):
        core.patch_namespaced_config_map(settings, "default", {"data": {"a": value}})
    watching = watch.Watch()
    seen = []
    for event in watching.stream(
        core.list_namespaced_config_map, "default", resource_version=start, timeout_seconds=20
    ):
        seen.append((event["type"], event["object"].data["a"]))
        if len(seen) == 2:
            watching.stop()
    assert seen == [("MODIFIED", "2"), ("MODIFIED", "3")]


def test_a_watch_from_too_long_ago_is_expired(core: client.CoreV1Api, settings: str) -> None:
    start = core.read_namespaced_config_map(settings, "default").metadata.resource_version
    for value in range(40):
        core.patch_namespaced_config_map(settings, "default", {"data": {"a": f"v{value}"}})
    with pytest.raises(ApiException) as caught:
        next(
            iter(
                watch.Watch().stream(
                    core.list_namespaced_config_map, "default", resource_version=start, timeout_seconds=5
                )
            )
        )
    assert caught.value.status == 410


def test_a_watch_ends_with_its_timeout(core: client.CoreV1Api) -> None:
    events = watch.Watch().stream(core.list_namespaced_config_map, "kube-system", timeout_seconds=1, watch=True)
    assert list(events) == []


def run(core: client.CoreV1Api, *command: str, **options: Any) -> Any:
    asked = {"stdout": True, "stderr": True, "stdin": False, "tty": False, **options}
    return stream.stream(
        core.connect_get_namespaced_pod_exec,
        "client",
        "default",
        command=list(command),
        _preload_content=False,
        **asked,
    )


def test_exec_with_standard_input_and_exit_status(core: client.CoreV1Api, pod: str) -> None:
    talk = run(core, "sh", "-c", "read line; echo got $line; echo oops >&2; exit 3", stdin=True)
    talk.write_stdin("hello\n")
    talk.run_forever(timeout=20)
    assert (talk.read_stdout(), talk.read_stderr()) == ("got hello\n", "oops\n")
    assert talk.returncode == 3
    talk.sock.shutdown()  # close() leaves the socket open when the server has closed first


def test_a_command_reads_the_end_when_the_client_closes(api: RunningApi, core: client.CoreV1Api, pod: str) -> None:
    talk = run(core, "sh", "-c", "cat >/dev/null; echo bye", stdin=True)
    talk.close()
    process = api.containers.processes[-1]
    ended = threading.Event()
    for _ in range(100):
        if process.exit_status is not None:
            break
        ended.wait(0.1)
    assert process.exit_status is not None


def test_logs_as_a_stream(api: RunningApi, core: client.CoreV1Api, pod: str) -> None:
    api.containers.start([b"one\n"])
    answer = core.read_namespaced_pod_log("client", "default", follow=True, _preload_content=False)
    lines = iter(answer)
    assert next(lines) == b"one\n"
    api.call(lambda: api.containers.write(b"two\n", last=True))
    assert list(lines) == [b"two\n"]
    answer.close()


def test_who_am_i_and_what_may_i(connection: client.ApiClient) -> None:
    me = client.AuthenticationV1Api(connection).create_self_subject_review(client.V1SelfSubjectReview())
    assert me.status.user_info.username == "kubernetes-admin"
    asked = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(verb="get", resource="pods")
        )
    )
    answer = client.AuthorizationV1Api(connection).create_self_subject_access_review(asked)
    assert answer.status.allowed


def test_service_account_tokens_carry_their_rights_and_no_others(api: RunningApi) -> None:
    token = api.server.issue_token("kube-system", "default")
    context = ssl.create_default_context(cafile=api.directory / "pki" / "ca.crt")
    request = urllib.request.Request(
        f"{api.url}/api/v1/namespaces/default", headers={"Authorization": f"Bearer {token}"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, context=context, timeout=10)
    assert caught.value.code == 403
    assert "system:serviceaccount:kube-system:default" in json.loads(caught.value.read())["message"]
    caught.value.close()
    role = {"rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}]}
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "kube-system"}
    for kind, rest in (
        ("ClusterRole", role),
        ("ClusterRoleBinding", {"subjects": [subject], "roleRef": {"kind": "ClusterRole", "name": "reader"}}),
    ):
        obj = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "reader"}, **rest}
        api.server.apply(obj, field_validation="Strict")
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{api.url}/api/v1/namespaces", context=context, timeout=10)
    assert caught.value.code == 401
    caught.value.close()


def test_a_body_beyond_the_limit_is_refused(core: client.CoreV1Api) -> None:
    with pytest.raises(ApiException) as caught:
        core.create_namespaced_config_map("default", {"metadata": {"name": "big"}, "data": {"x": "y" * 4_000_000}})
    assert caught.value.status == 413


def test_leases_and_service_proxies(api: RunningApi, connection: client.ApiClient, core: client.CoreV1Api) -> None:
    leases = client.CoordinationV1Api(connection)
    spec = {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-11-22T12:00:00.000000Z"}
    made = leases.create_namespaced_lease("kube-system", {"metadata": {"name": "drills"}, "spec": spec})
    made.spec.holder_identity = "you"
    assert leases.replace_namespaced_lease("drills", "kube-system", made).spec.holder_identity == "you"
    core.create_namespaced_service("default", {"metadata": {"name": "none"}, "spec": {"ports": [{"port": 80}]}})
    with pytest.raises(ApiException) as caught:
        core.connect_get_namespaced_service_proxy("none", "default")
    assert caught.value.status == 503


def test_deleting_many(api: RunningApi, core: client.CoreV1Api) -> None:
    for number in range(3):
        labels = {"many": "yes"} if number else {}
        core.create_namespaced_config_map("kube-system", {"metadata": {"name": f"m{number}", "labels": labels}})
    core.delete_collection_namespaced_config_map("kube-system", label_selector="many=yes")
    assert [obj["metadata"]["name"] for obj in api.call(lambda: api.store.list(CONFIGMAPS, "kube-system"))] == ["m0"]


def test_a_namespace_answers_its_deletion_with_itself(core: client.CoreV1Api) -> None:
    core.create_namespace({"metadata": {"name": "short"}})
    core.delete_namespace("short")
    assert core.read_namespace("short").status.phase == "Terminating"
