"""The kinds of attempts in a real lab: names, connections and logins, what the client sees, and who proves it.

Every denial is shown three times: by the client, by Cilium's counter in Prometheus, and by Hubble's flows, matched by
the address and port of each attempt.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from alerts.prometheus import Prometheus
from drills.cilium.flow import Flow, TrafficDirection
from drills.inject.base import Attempt, Outcome, OutcomeKind
from drills.inject.dns import answers
from drills.inject.kinds import Kind, kind_of
from drills.kube import Cluster, DrillPod, DrillPodSpec
from drills.kube.api import Obj, core, custom
from drills.lab import client
from drills.lab.client import LabRequest
from drills.playbook import Denied, DnsInjection, PostgresInjection, ProbeInjection, TcpInjection
from drills.playbook.model import SecretKey

pytestmark = pytest.mark.lab

PROBE = ("python", "-m", "drills.probe")
PATIENCE = 20.0
SCALE = 10.0  # 2/s for 6 s become 12 attempts within 0.6 s
PACE: dict[str, Any] = {"source": "any", "rate": 2.0, "duration": 6.0, "timeout": 1.0}
PLANNED = 12
SILENCE, REFUSED = (Denied(connect="timeout"),), (Denied(dns="refused"),)
DENIED, LEAKED, BROKEN = OutcomeKind.DENIED, OutcomeKind.LEAKED, OutcomeKind.BROKEN
SUCCEEDED = OutcomeKind.SUCCEEDED
DATABASE = TcpInjection(host="database.database", port=5432, **PACE)
LOGIN = PostgresInjection(
    host="database.database",
    user="appuser",
    database="appdb",
    password_from=SecretKey(secret="database/app", key="password"),
    **PACE,
)

Bring = Callable[[str, str], DrillPod]


@dataclass(frozen=True)
class World:
    cluster: Cluster
    prometheus: Prometheus


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "XDG_STATE_HOME": str(home), "DRILLS_LAB": "kinds-test"}
    with client.held(LabRequest(), environment=environment) as lab:
        yield World(Cluster.connect(kubeconfig=lab.kubeconfig), Prometheus(lab.prometheus))


@pytest.fixture(scope="module")
def bring(world: World) -> Iterator[Bring]:
    """Drill pods by namespace and label ``app``, each made once."""
    made: dict[tuple[str, str], DrillPod] = {}

    def bring_one(namespace: str, app: str) -> DrillPod:
        if (namespace, app) not in made:
            spec = DrillPodSpec("run-1", "kinds", f"drill-{app}", namespace, {"app": app}, 300.0)
            world.cluster.create_drill_pod(spec)
            made[namespace, app] = world.cluster.wait_running(namespace, spec.name, time.monotonic() + PATIENCE)
        await_realised(world.cluster, made[namespace, app])
        return made[namespace, app]

    yield bring_one
    for pod in made.values():
        world.cluster.delete_drill_pod(pod.namespace, pod.name, PATIENCE)


def await_realised(cluster: Cluster, pod: DrillPod) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        assert time.monotonic() < until
        policies = [each for each in cluster.policies() if each.valid is not False]
        endpoint = cluster.endpoint(pod.namespace, pod.name)
        wanted = max((revision for each in policies for revision in each.revisions.values()), default=0)
        known = all(each.valid and len(each.revisions) == len(cluster.agents()) for each in policies)
        if known and endpoint is not None and endpoint.ready and (endpoint.revision or 0) >= wanted:
            return
        time.sleep(0.05)


def attempts_of(world: World, pod: DrillPod, kind: Kind) -> list[Attempt]:
    """The attempts of one run; a password goes to the probe and comes back nowhere."""
    password = None if kind.secret is None else secret_of(world.cluster, kind.secret)
    config = kind.config("test", scale=SCALE, password=password)
    found = []
    with world.cluster.exec(pod.namespace, pod.name, PROBE) as stream:
        stream.send(json.dumps(config))
        for line in stream.lines(time.monotonic() + PATIENCE):
            assert password is None or password not in line
            said = json.loads(line)
            if "ready" in said:
                stream.send(json.dumps({"go": True}))
            if "attempt" in said:
                found.append(Attempt.read(said["attempt"]))
        assert stream.failure() is None, stream.errors
        assert stream.errors == ""
    return found


def secret_of(cluster: Cluster, key: SecretKey) -> str:
    namespace, _, name = key.secret.partition("/")
    found = cluster.call("read the Secret", "GET", core("secrets", namespace, name))
    return base64.b64decode(found["data"][key.key]).decode()


def counted(attempts: Sequence[Attempt], judge: Callable[[Attempt], Outcome]) -> Counter[tuple[OutcomeKind, str]]:
    return Counter((outcome.kind, outcome.name) for outcome in map(judge, attempts))


def denied_by_policy(
    world: World, pod: DrillPod, injection: ProbeInjection, denied: tuple[Denied, ...], name: str
) -> list[Flow]:
    """Makes the attack, asserts that all of it is denied under one name and proven; returns the flows that prove it."""
    kind = kind_of(injection)
    proof = kind.proof(denied)
    (before,) = world.prometheus.query(proof.counter)
    began = time.time()
    attempts = attempts_of(world, pod, kind)
    assert counted(attempts, kind.judge(denied).attack) == {(DENIED, name): PLANNED}
    clients = {(each.local_address, each.local_port) for each in attempts}
    assert len(clients) == PLANNED
    flows = [
        flow
        for flow in world.cluster.hubble_flows(began - 1, proof.flow_filters).flows
        if proof.shows(flow) and flow.ip and flow.l4 and (flow.ip.source, flow.l4.source_port) in clients
    ]
    assert {(flow.ip.source, flow.l4.source_port) for flow in flows if flow.ip and flow.l4} == clients
    until = time.monotonic() + PATIENCE
    while (grown := world.prometheus.query(proof.counter)[0].value - before.value) < PLANNED:
        assert time.monotonic() < until, grown
        time.sleep(0.1)
    assert grown == PLANNED or not proof.exact
    return flows


# --- the database -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("namespace", "app"), [("frontend", "frontend"), ("backend", "reporting")])
@pytest.mark.parametrize("injection", [DATABASE, LOGIN], ids=["tcp", "postgres"])
def test_the_database_s_own_policy_refuses_another_tier(
    world: World, bring: Bring, namespace: str, app: str, injection: ProbeInjection
) -> None:
    flows = denied_by_policy(world, bring(namespace, app), injection, SILENCE, "connect-timeout")
    assert {flow.traffic_direction for flow in flows} == {TrafficDirection.INGRESS}
    assert {flow.destination.namespace for flow in flows if flow.destination} == {"database"}
    verdicts = world.cluster.hubble_flows(time.time() - 10, ["-t", "policy-verdict", "--from-pod", f"{namespace}/"])
    assert verdicts.flows
    assert all(flow.default_denied and not flow.denied_by for flow in verdicts.flows if flow.denied)


def test_a_pod_that_nothing_allows_is_stopped_on_its_own_side(world: World, bring: Bring) -> None:
    flows = denied_by_policy(world, bring("frontend", "test-client"), DATABASE, SILENCE, "connect-timeout")
    assert {flow.traffic_direction for flow in flows} == {TrafficDirection.EGRESS}


def test_backend_logs_in_and_selects(world: World, bring: Bring) -> None:
    attempts = attempts_of(world, bring("backend", "backend"), kind_of(LOGIN))
    assert counted(attempts, kind_of(LOGIN).judge().control) == {(SUCCEEDED, "selected"): PLANNED}
    assert {each.body for each in attempts} == {"1"}
    assert all(set(each.seconds) == {"connect", "login", "query"} for each in attempts)
    attempts = attempts_of(world, bring("backend", "backend"), kind_of(DATABASE))
    assert counted(attempts, kind_of(DATABASE).judge().control) == {(SUCCEEDED, "connected"): PLANNED}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password_from": None}, "no password supplied"),
        ({"user": "nobody"}, "password authentication failed"),
        ({"database": "nothing"}, 'database "nothing" does not exist'),
    ],
)
def test_whatever_the_server_says_is_a_leak(world: World, bring: Bring, change: dict[str, Any], said: str) -> None:
    kind = kind_of(LOGIN.model_copy(update=change))
    attempts = attempts_of(world, bring("backend", "backend"), kind)
    assert counted(attempts, kind.judge(SILENCE).attack) == {(LEAKED, "server-error"): PLANNED}
    assert all(said in each.detail for each in attempts)
    assert {outcome.kind for outcome in map(kind.judge().control, attempts)} == {BROKEN}


# --- names and addresses ----------------------------------------------------------------------------------------------


def name(host: str) -> DnsInjection:
    return DnsInjection(name=host, port=443, **PACE)


@pytest.mark.parametrize("host", ["api.github.com", "storage.googleapis.com"])
def test_allowed_names_resolve_and_connect(world: World, bring: Bring, host: str) -> None:
    kind = kind_of(name(host))
    attempts = attempts_of(world, bring("backend", "backend"), kind)
    assert counted(attempts, kind.judge().control) == {(SUCCEEDED, "connected"): PLANNED}
    assert counted(attempts, kind.judge(REFUSED).attack) == {(LEAKED, "dns-answered"): PLANNED}
    assert {answers(each) for each in attempts} == {frozenset({attempts[0].address})}


def test_a_name_that_the_dns_rule_refuses(world: World, bring: Bring) -> None:
    flows = denied_by_policy(world, bring("backend", "backend"), name("malicious-site.com"), REFUSED, "dns-refused")
    assert {flow.l7.dns.query for flow in flows if flow.l7 and flow.l7.dns} == {"malicious-site.com."}


def test_a_pattern_is_one_level_deep(world: World, bring: Bring) -> None:
    denied_by_policy(world, bring("backend", "backend"), name("a.b.googleapis.com"), REFUSED, "dns-refused")


def test_a_name_that_resolves_and_is_in_no_fqdn_rule(world: World, bring: Bring) -> None:
    flows = denied_by_policy(world, bring("backend", "backend"), name("example.com"), SILENCE, "connect-timeout")
    assert {flow.traffic_direction for flow in flows} == {TrafficDirection.EGRESS}


def test_an_address_without_a_lookup(world: World, bring: Bring) -> None:
    denied_by_policy(world, bring("backend", "backend"), name("198.19.3.7"), SILENCE, "connect-timeout")


def test_a_name_that_does_not_exist_is_denied_by_nobody(world: World, bring: Bring) -> None:
    kind = kind_of(name("no-such-name.cluster.local"))
    began = time.time()
    attempts = attempts_of(world, bring("backend", "backend"), kind)
    assert {(each.phase, each.error) for each in attempts} == {("resolve", "nxdomain")}
    assert counted(attempts, kind.judge(REFUSED).attack) == {(BROKEN, "dns-nxdomain"): PLANNED}
    proof = kind.proof((Denied(dns="nxdomain"),))
    assert not any(map(proof.shows, world.cluster.hubble_flows(began - 1, proof.flow_filters).flows))


# --- a narrower rule of the test's own --------------------------------------------------------------------------------

PLACE = "lookups"


def narrow(pattern: str) -> Obj:
    """One name may be connected to; lookups as the pattern says."""
    dns_server = {"k8s-app": "kube-dns", "io.kubernetes.pod.namespace": "kube-system"}
    rules = {"dns": [{"matchPattern": pattern}]}
    lookups = {"ports": [{"port": "53", "protocol": "ANY"}], "rules": rules}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "narrow", "namespace": PLACE},
        "spec": {
            "endpointSelector": {},
            "egress": [
                {"toEndpoints": [{"matchLabels": dns_server}], "toPorts": [lookups]},
                {
                    "toFQDNs": [{"matchName": "api.github.com"}],
                    "toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}],
                },
            ],
        },
    }


@pytest.fixture(scope="module")
def narrowed(world: World, bring: Bring) -> Callable[[str], DrillPod]:
    """A pod in a namespace of its own, once the policy with a pattern is in force there."""
    api = world.cluster
    api.call("create", "POST", core("namespaces"), body={"metadata": {"name": PLACE}})
    alias = {"metadata": {"name": "alias"}, "spec": {"type": "ExternalName", "externalName": "api.github.com"}}
    api.call("create", "POST", core("services", PLACE), body=alias)

    def with_pattern(pattern: str) -> DrillPod:
        path = custom("cilium.io", "v2", "ciliumnetworkpolicies", PLACE)
        if api.find("delete", "DELETE", f"{path}/narrow") is not None:
            await_gone(api)
        api.call("create", "POST", path, body=narrow(pattern))
        return bring(PLACE, "narrow")

    return with_pattern


def await_gone(cluster: Cluster) -> None:
    until = time.monotonic() + PATIENCE
    while any(each.name == "narrow" for each in cluster.policies()):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_narrower_rule_refuses_and_a_wider_one_answers(world: World, narrowed: Callable[[str], DrillPod]) -> None:
    denied_by_policy(world, narrowed("api.github.com"), name("httpbin.org"), REFUSED, "dns-refused")
    kind = kind_of(name("httpbin.org"))
    attempts = attempts_of(world, narrowed("*"), kind)
    assert counted(attempts, kind.judge(REFUSED).attack) == {(LEAKED, "dns-answered"): PLANNED}
    assert counted(attempts, kind.judge(SILENCE).attack) == {(DENIED, "connect-timeout"): PLANNED}


def test_a_denied_name_on_an_allowed_address_proves_nothing(world: World, narrowed: Callable[[str], DrillPod]) -> None:
    pod = narrowed("*")
    allowed = attempts_of(world, pod, kind_of(name("api.github.com")))
    shared = frozenset[str]().union(*map(answers, allowed))
    kind = kind_of(name(f"alias.{PLACE}.svc.cluster.local"))
    attempts = attempts_of(world, pod, kind)
    assert counted(attempts, kind.judge(SILENCE, shared=shared).attack) == {(BROKEN, "shared-address"): PLANNED}
