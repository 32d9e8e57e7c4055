"""The generated manifests: taken strictly, and their rights exactly sufficient, by the server's own word."""

from __future__ import annotations

from itertools import groupby, zip_longest
from pathlib import Path

import pytest
import yaml
from kube_support import TOLD, Server, eventually

from drills.deploy.accepted import CRONJOB_NAME
from drills.deploy.manifests import Written, stream, text
from drills.deploy.roles import rules
from drills.deploy.settings import Settings
from drills.engine.planning import World, plan
from drills.engine.publications import result_map
from drills.engine.records import Records
from drills.engine.rights import needed
from drills.engine.run import select
from drills.engine.session import alone
from drills.engine.undo import Record, of_drill_pod
from drills.errors import WorldError
from drills.kube import Cluster
from drills.kube.announce import Event, record_event, write_config_map
from drills.kube.api import KubeError, core
from drills.kube.rights import Right, granted

BASE = sorted((Path(__file__).parents[2] / "deploy").glob("*.yaml"))
KINDS = (
    "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ConfigMap", "CiliumNetworkPolicy",
    "CronJob", "PrometheusRule",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_strict_dry_run_takes_every_object(server: Server, kind: str) -> None:
    found = [one for one in server.objects() if one["kind"] == kind]
    assert found
    if not server.serves(found[0]):
        pytest.skip(f"this API serves no {kind}: its CustomResourceDefinition is not installed")
    answer = server.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text(found))
    assert answer.count("(server dry run)") == len(found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_strict_dry_run_takes_the_shipped_base(server: Server, kind: str) -> None:
    """In the namespaces of this run of the tests: those of the shipped playbooks are not there."""
    found = [one for path in BASE for one in yaml.safe_load_all(path.read_text()) if one["kind"] == kind]
    assert found
    if not server.serves(found[0]):
        pytest.skip(f"this API serves no {kind}: its CustomResourceDefinition is not installed")
    for number, one in enumerate(found):  # roles of several namespaces have one name
        one["metadata"] |= {"name": f"{one['metadata']['name']}-{number}"}
        if "namespace" in one["metadata"]:
            one["metadata"]["namespace"] = server.front
    answer = server.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text(found))
    assert answer.count("(server dry run)") == len(found)


def test_a_name_that_is_too_long_for_a_cronjob_is_refused_as_manifests_says(server: Server) -> None:
    (job,) = [one for one in server.objects() if one["kind"] == "CronJob"]
    path = f"/apis/batch/v1/namespaces/{job['metadata']['namespace']}/cronjobs"

    def attempt(length: int) -> None:
        named = {**job, "metadata": {**job["metadata"], "name": "n" * length}}
        server.cluster.call("try a CronJob", "POST", path, query={"dryRun": "All"}, body=named)

    attempt(CRONJOB_NAME)
    with pytest.raises(KubeError, match="52 characters"):
        attempt(CRONJOB_NAME + 1)


def test_the_namespaces_are_taken(server: Server) -> None:
    made = stream([Written(server.path, server.playbook)], Settings(namespace=server.front))
    namespaces = [one for one in yaml.safe_load_all(made) if one["kind"] == "Namespace"]
    server.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text(namespaces))


def test_no_kind_is_left_out(server: Server) -> None:
    assert {one["kind"] for one in server.objects()} == set(KINDS)


@pytest.fixture(scope="module")
def runner(deployed: Server, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The API as the generated service account sees it."""
    token = deployed.kubectl("-n", "drills", "create", "token", f"drills-{deployed.name}").strip()
    view = deployed.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "yaml")
    config = yaml.safe_load(view)
    config["users"][0]["user"] = {"token": token}
    path: Path = tmp_path_factory.mktemp("runner") / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return Cluster.connect(kubeconfig=path)


def refused(runner: Cluster, rights: list[Right]) -> list[str]:
    return [str(right) for right in rights if not granted(runner, right)]


def test_every_right_is_granted(deployed: Server, runner: Cluster) -> None:
    rights = needed(deployed.playbook, publish=TOLD)
    assert eventually(lambda: refused(runner, rights) == []), refused(runner, rights)


def test_each_right_that_is_taken_away_is_the_one_that_a_plan_misses(deployed: Server, runner: Cluster) -> None:
    rights = needed(deployed.playbook, publish=TOLD)
    (job,) = select([(deployed.path, deployed.playbook)], ())
    world = World("as the runner", runner, None, 1.0)

    def missed() -> list[str]:
        """As a plan says it, among the rights and among what lacks."""
        found = plan(job, world, TOLD)
        told = [one.text.removeprefix("may not ") for one in found.lacks if one.subject == "right"]
        lacking = [one for one in found.rights if not one.granted]
        assert told == [f"{one.text} ({one.reason})" for one in lacking]
        return [one.text for one in lacking]

    apart = [list(own) for _, own in groupby(rights, key=lambda one: one.namespace)]
    for missing in zip_longest(*apart):  # one of each role at a time
        gone = [one for one in missing if one is not None]
        for one, own in zip(missing, apart, strict=True):
            _write(deployed, own[0].namespace, [each for each in own if each != one])
        assert eventually(lambda gone=gone: refused(runner, gone) == [str(one) for one in gone]), gone  # type: ignore[misc]
        assert missed() == [str(one) for one in gone]
    for own in apart:
        _write(deployed, own[0].namespace, own)
    assert eventually(lambda: refused(runner, rights) == [])
    assert missed() == []


def test_the_runner_tells_in_events_and_writes_its_result_twice(deployed: Server, runner: Cluster) -> None:
    assert eventually(lambda: refused(runner, needed(deployed.playbook, publish=TOLD)) == [])
    record_event(runner, Event(deployed.front, "DrillStarted", "Normal", "This is a drill."))
    listed = deployed.cluster.call("list Events", "GET", core("events", deployed.front))["items"]
    (told,) = [one for one in listed if one["reason"] == "DrillStarted"]
    assert (told["message"], told["involvedObject"]["name"]) == ("This is a drill.", deployed.front)
    name = result_map(deployed.playbook.name)
    try:
        for verdict in ("failed", "passed"):
            write_config_map(runner, "drills", name, {"verdict": verdict})
            kept = deployed.cluster.call("read the result", "GET", core("configmaps", "drills", name))
            assert kept["data"] == {"verdict": verdict}
    finally:
        deployed.cluster.find("delete the result", "DELETE", core("configmaps", "drills", name))


def test_what_another_playbook_left_is_named_with_whose_rights_undo_it(deployed: Server, runner: Cluster) -> None:
    """In a namespace where this account may do nothing. No run begins over it."""
    undo = of_drill_pod("default", "drill-of-another")
    left = Record(
        run="another-run", playbook="another", order=1, what="pod default/drill-of-another", at="now", undo=undo
    )
    records = Records(deployed.cluster)
    records.add(left)
    said: list[str] = []
    try:
        with (
            pytest.raises(WorldError) as refused,
            alone(runner, said.append, said.append, recover_first=True, command="drills recover"),
        ):
            pytest.fail("it began")
    finally:
        records.drop(left)
    assert "an earlier run of another left" in str(refused.value)
    assert "(403)" in str(refused.value)
    assert "`drills recover`, with the rights of another" in str(refused.value)


def _write(server: Server, namespace: str | None, rights: list[Right]) -> None:
    where = "clusterroles" if namespace is None else f"namespaces/{namespace}/roles"
    path = f"/apis/rbac.authorization.k8s.io/v1/{where}/drills-{server.name}"
    role = server.cluster.call("read the role", "GET", path)
    server.cluster.call("change the role", "PUT", path, body={**role, "rules": rules(rights)})


def test_nothing_beside_them_is_granted(deployed: Server, runner: Cluster) -> None:
    front, back = deployed.front, deployed.back
    beside = [
        Right("", "secrets", "get", back, "another"),
        Right("", "secrets", "list", back),
        Right("", "secrets", "get", "kube-system", "any"),
        Right("", "pods", "create", "kube-system"),
        Right("", "pods", "delete", "kube-system", "any"),
        Right("", "pods", "create", "default"),
        Right("", "pods/exec", "create", "default", "any"),
        Right("", "services", "get", front, "any"),
        Right("", "configmaps", "update", front, "any"),
        Right("", "namespaces", "create", None),
        Right("cilium.io", "ciliumnetworkpolicies", "delete", back, "any"),
        Right("cilium.io", "ciliumnodes", "update", None, "node-2"),
        Right("rbac.authorization.k8s.io", "roles", "create", front),
        Right("coordination.k8s.io", "leases", "update", "kube-system", "any"),
    ]
    assert refused(runner, beside) == [str(one) for one in beside]
