"""What drills would meet: the shipped playbooks on the demo, and what end-to-end tests show of the lab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import check_world
import pytest
import yaml

from drills.check import reading
from drills.check.finding import Finding, Level
from drills.check.predict import rules
from drills.check.predict.cluster import Cluster
from drills.check.predict.findings import predictions
from drills.check.predict.outcome import Met, normalised, predict
from drills.check.world import Options, World
from drills.playbook import FloodInjection, WireguardInjection

ROOT = Path(__file__).parents[3]
PLAYBOOKS = ROOT / "playbooks"
LIES = ROOT / "tests" / "e2e" / "lies_enforcement"
POLICIES = "50-policies.yaml"


def read(*paths: Path) -> World:
    return reading.read(paths, Options())


def found(world: World) -> list[Finding]:
    return list(predictions(world, Cluster.of(world)))


def edited(tmp_path: Path, edit: Callable[[str], str]) -> World:
    """The shipped playbooks and the demo, with other policies."""
    text = (PLAYBOOKS / "demo" / POLICIES).read_text()
    changed = edit(text)
    assert changed != text
    (tmp_path / POLICIES).write_text(changed)
    others = [each for each in sorted((PLAYBOOKS / "demo").iterdir()) if each.name != POLICIES]
    return read(*sorted(PLAYBOOKS.glob("*.yaml")), *others, tmp_path / POLICIES)


def without(*names: str) -> Callable[[str], str]:
    """Without policies, by namespace/name."""

    def edit(text: str) -> str:
        kept = []
        for each in yaml.safe_load_all(text):
            if f"{each['metadata']['namespace']}/{each['metadata']['name']}" not in names:
                kept.append(each)
        return yaml.safe_dump_all(kept)

    return edit


def outcomes(world: World) -> dict[str, tuple[set[Met], set[Met]]]:
    """Of every drill: what its attack and its control meet."""
    cluster = Cluster.of(world)
    told = {}
    for loaded in world.playbooks:
        for drill in loaded.playbook.drills:
            if isinstance(drill.injection, FloodInjection | WireguardInjection):
                continue
            assert drill.control is not None
            attack, control = (
                {each.met for each in predict(one, loaded.playbook, cluster)}
                for one in (drill.injection, drill.control)
            )
            told[f"{loaded.playbook.name}/{drill.name}"] = (attack, control)
    return told


def test_every_shipped_drill_is_held_and_its_control_up() -> None:
    world = read(PLAYBOOKS)
    told = outcomes(world)
    assert {name: attack for name, (attack, _) in told.items()} == {
        "admin-path/admin-path": {Met.HTTP_403},
        "zero-trust/admin-path": {Met.HTTP_403},
        "zero-trust/method": {Met.HTTP_403},
        "zero-trust/missing-header": {Met.HTTP_403},
        "zero-trust/path-traversal": {Met.HTTP_403},
        "zero-trust/encoded-traversal": {Met.HTTP_403},
        "zero-trust/encoded-slashes": {Met.HTTP_403},
        "zero-trust/grpc-call": {Met.HTTP_403},
        "zero-trust/refused-name": {Met.DNS_REFUSED},
        "zero-trust/unlisted-name": {Met.SILENCE},
        "zero-trust/address-without-lookup": {Met.SILENCE},
        "zero-trust/database-from-frontend": {Met.SILENCE},
        "zero-trust/database-from-outsider": {Met.SILENCE},
        "zero-trust/default-deny": {Met.SILENCE},
        "zero-trust/default-deny-http-api": {Met.SILENCE},
        "zero-trust/default-deny-database": {Met.SILENCE},
        "zero-trust/default-deny-outside": {Met.SILENCE},
    }
    assert all(control == {Met.ANSWERED} for _, control in told.values())
    assert found(world) == []


@pytest.mark.parametrize(
    ("edit", "drill", "words"),
    [
        (without("backend/http-l7-policy"), "admin-path", "no policy that Cilium accepts restricts the ingress of"),
        (lambda text: text.replace('path: "/"}', 'path: "/.*"}'), "admin-path", "because backend/http-l7-policy ("),
        (without("database/default-deny-all", "database/backend-to-database"), "database-from-frontend", "no policy"),
        (lambda text: text.replace("{matchName: example.com}", "{matchPattern: '*'}"), "refused-name", "external-api"),
        (
            lambda text: text.replace("toFQDNs: [{matchName: api.github.com}", "toFQDNs: [{matchPattern: '**'}"),
            "unlisted-name",
            "because backend/external-api-policy (",
        ),
    ],
    ids=["removed", "widened-path", "database-open", "widened-names", "widened-addresses"],
)
def test_a_policy_removed_or_widened_is_breached(
    tmp_path: Path, edit: Callable[[str], str], drill: str, words: str
) -> None:
    breached = [each for each in found(edited(tmp_path, edit)) if each.rule == "playbook/would-be-breached"]
    (message, *_) = [each.message for each in breached if f"the drill {drill} would be breached" in each.message]
    assert words in message


def test_the_line_that_allows_is_named(tmp_path: Path) -> None:
    world = edited(tmp_path, lambda text: text.replace('path: "/"}', 'path: "/.*"}'))
    text = (tmp_path / POLICIES).read_text().splitlines()
    (finding, *_) = [each for each in found(world) if each.rule == "playbook/would-be-breached"]
    line = int(finding.message.partition(f"{POLICIES}:")[2].partition(")")[0])
    assert text[line - 1].lstrip("- ").startswith("fromEndpoints")
    assert "app: frontend" in text[line - 1]


def test_a_control_that_is_no_longer_allowed_is_told(tmp_path: Path) -> None:
    world = edited(tmp_path, without("frontend/frontend-egress-to-backend"))
    failing = [each for each in found(world) if each.rule == "playbook/control-would-fail"]
    assert any("by the source's default deny (frontend/default-deny-all" in each.message for each in failing)
    otherwise = [each for each in found(world) if each.rule == "playbook/denied-otherwise"]
    assert any("packets are dropped, so the connection times out" in each.message for each in otherwise)


LAB_SHOWS = {  # tests/e2e/test_lies_enforcement.py: enforcement of each drill as the lab's kernel and Envoy decide
    "nothing-wrong": set(),
    "own-403": {"playbook/would-be-breached"},
    "mesh-403": {"playbook/would-be-breached"},
    "half-guarded": {"playbook/would-be-breached"},
    "unguarded": {"playbook/would-be-breached"},
    "refused": {"playbook/would-be-breached"},
    "over-blocking": {"playbook/control-would-fail"},
    "cut-off": {"playbook/control-would-fail", "playbook/denied-otherwise"},
    "cut-off-alone": {"playbook/denied-otherwise"},
    "silence": set(),
}


def test_what_the_lab_shows_of_each_lie_is_predicted() -> None:
    findings = found(read(LIES / "as-it-is.yaml", LIES / "manifests"))
    told = {name: {each.rule for each in findings if _is_of(each, name)} for name in LAB_SHOWS}
    assert told == LAB_SHOWS
    (mislabelled,) = [each for each in findings if "is not what Pod clients/workload is" in each.message]
    assert "tier=front" in mislabelled.message
    (unguarded,) = [each for each in findings if "unguarded.bare" in each.message]
    assert "Cilium refuses bare/deny-all" in unguarded.message


def _is_of(finding: Finding, drill: str) -> bool:
    return any(f"the drill {drill}{end}" in finding.message for end in (" ", ",", ":"))


def test_without_policies_or_manifests_nothing_is_said() -> None:
    assert found(read(*sorted(PLAYBOOKS.glob("*.yaml")))) == []
    assert found(read(*sorted(PLAYBOOKS.glob("*.yaml")), PLAYBOOKS / "demo" / POLICIES)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("apiVersion: cilium.io/v2", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
         "metadata: {name: also, namespace: backend}\n---\napiVersion: cilium.io/v2"),
        ("app: frontend, io.kubernetes.pod.namespace: frontend",
         "app: frontend, io.cilium.k8s.namespace.labels.team: web"),
        ("app: frontend, io.kubernetes.pod.namespace: frontend",
         "app: frontend, io.kubernetes.pod.namespace: frontend, io.cilium.k8s.policy.cluster: east"),
    ],
    ids=["kubernetes-policy", "namespace-labels", "cluster"],
)  # fmt: skip
def test_what_hangs_on_facts_that_files_do_not_hold_is_left_alone(tmp_path: Path, old: str, new: str) -> None:
    world = edited(tmp_path, lambda text: text.replace(old, new))
    world = replace(world, objects=[each for each in world.objects if each.kind != "Namespace"])
    playbooks = [each for each in world.playbooks if each.playbook.name == "admin-path"]
    assert found(replace(world, playbooks=playbooks)) == []


def test_of_two_policies_by_one_name_the_last_one_is_applied(tmp_path: Path) -> None:
    wide = (PLAYBOOKS / "demo" / POLICIES).read_text().replace('path: "/"}', 'path: "/.*"}')
    (tmp_path / "wide.yaml").write_text(wide)
    assert found(read(PLAYBOOKS / "admin-path.yaml", tmp_path / "wide.yaml", PLAYBOOKS / "demo")) == []
    (breached,) = found(read(PLAYBOOKS / "admin-path.yaml", PLAYBOOKS / "demo", tmp_path / "wide.yaml"))
    assert breached.rule == "playbook/would-be-breached"


SHOP = rules.BREACHED.right  # two workloads, a Service, a policy, a playbook with one drill
PEER = "fromEndpoints: [{matchLabels: {app: web}}]"
NARROW = 'rules: {http: [{method: GET, path: "/"}]}'


def told(tmp_path: Path, changes: dict[str, str], cilium: str) -> list[str]:
    """What is predicted for the shop with another policy, and the errors about the policy itself."""
    text = SHOP
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    all_of_it = check_world.found(tmp_path, text, cilium=cilium)
    return [f"{each.rule} {each.level}" for each in all_of_it if each.level is not Level.NOTE]


REQUIRES = "fromRequires: [{matchLabels: {team: shop}}]\n    "
BREACHED = "playbook/would-be-breached error"


@pytest.mark.parametrize(
    ("changes", "cilium", "expected"),
    [
        ({"protocol: TCP": "protocol: tcp"}, "1.20", ["cilium/rejected error", BREACHED]),
        ({PEER: "fromEntities: [Cluster]"}, "1.20", ["cilium/rejected error", BREACHED]),
        ({"name: api, namespace: shop}\nspec:\n  endpoint": "name: A_1, namespace: shop}\nspec:\n  endpoint"}, "1.20",
         ["cilium/rejected error", BREACHED]),
        ({NARROW: "rules: {grpc: [{}]}"}, "1.20", ["cilium/unknown-field error", BREACHED]),
        ({NARROW: "rules: {kafka: [{role: consume}]}"}, "1.20", ["cilium/removed-l7 error", BREACHED]),
        ({NARROW: "rules: {kafka: [{role: consume}]}"}, "1.18", ["cilium/removed-l7 warning"]),
        ({NARROW: "rules: {kafka: [{apiKey: consume}]}"}, "1.18",
         ["cilium/removed-l7 warning", "cilium/removed-l7 error", BREACHED]),
        ({PEER: f"{PEER}\n    authentication: {{mode: required}}"}, "1.18", []),
        ({PEER: f"{PEER}\n    authentication: {{mode: required}}"}, "1.20", ["cilium/needs-setting warning"]),
        ({PEER: "fromNodes: [{matchLabels: {a: b}}]"}, "1.20", ["cilium/needs-setting warning"]),
        ({PEER: f"{REQUIRES}{PEER}", NARROW: NARROW.replace("/", "/.*")}, "1.18", ["cilium/removed-requires warning"]),
        ({PEER: f"{REQUIRES}{PEER}"}, "1.20",
         ["cilium/removed-requires error", BREACHED]),
    ],
    ids=["protocol", "entity", "name", "grpc", "kafka-1.20", "kafka-1.18", "kafka-key", "auth-1.18", "auth-1.20",
         "nodes", "requires-1.18", "requires-1.20"],
)  # fmt: skip
def test_what_is_in_force_is_what_the_policy_checks_say(
    tmp_path: Path, changes: dict[str, str], cilium: str, expected: list[str]
) -> None:
    assert told(tmp_path, changes, cilium) == expected


def test_who_refuses_the_policy_is_told(tmp_path: Path) -> None:
    text = SHOP.replace("protocol: TCP", "protocol: tcp")
    (breached,) = [each for each in check_world.found(tmp_path, text) if each.rule == "playbook/would-be-breached"]
    assert "no policy that Cilium accepts restricts the ingress" in breached.message
    assert "(the API refuses shop/api)" in breached.message


def test_kafka_rules_of_an_earlier_release_still_deny_others(tmp_path: Path) -> None:
    """Who is not listed is dropped: the drill that expects 403 is told."""
    changes = {NARROW: "rules: {kafka: [{role: consume}]}", PEER: "fromEndpoints: [{matchLabels: {app: other}}]"}
    assert told(tmp_path, changes, "1.18") == [
        "cilium/removed-l7 warning", "playbook/denied-otherwise warning", "playbook/control-would-fail error",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"selector: {app: api}, ports": "selector: {app: apii}, ports"},
         "Service shop/api selects app=apii, and no given workload has such pods"),
        ({"metadata: {name: api, namespace: shop}\nspec:\n  selector": "metadata: {name: api, namespace: shop}\n"
          "spec:\n  replicas: 0\n  selector"}, "no pod is behind Service shop/api: Deployment shop/api has 0 replicas"),
    ],
)  # fmt: skip
def test_a_service_that_nobody_is_behind(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    text = SHOP
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    missing = [each.message for each in check_world.found(tmp_path, text) if each.rule == "playbook/target-missing"]
    assert missing == [says, says]  # of the attack, and of the control


def test_a_service_of_pods_that_others_make_is_not_judged(tmp_path: Path) -> None:
    """No workload of the namespace is given: they may come from elsewhere."""
    kept = [each for each in SHOP.split("---\n") if "kind: Service" in each or "kind: Playbook" in each]
    assert len(kept) == 2
    missing = [each for each in check_world.found(tmp_path, "---\n".join(kept)) if "target" in each.rule]
    assert missing == []


def test_a_target_on_its_node_s_network_is_told(tmp_path: Path) -> None:
    text = SHOP.replace("{containers: [{name: api,", "{hostNetwork: true, containers: [{name: api,")
    told = {each.rule: each.message for each in check_world.found(tmp_path, text)}
    assert set(told) == {"cilium/selects-nothing", "playbook/target-on-node-network"}
    assert "the pods of Deployment shop/api are on their node's network" in told["playbook/target-on-node-network"]


def test_tls_and_other_protocols_through_an_http_proxy_are_not_judged(tmp_path: Path) -> None:
    text = (
        (PLAYBOOKS / "admin-path.yaml").read_text().replace("http://http-api.backend/", "https://http-api.backend:80/")
    )
    (tmp_path / "tls.yaml").write_text(text)
    assert found(read(tmp_path / "tls.yaml", PLAYBOOKS / "demo")) == []


@pytest.mark.parametrize(
    ("path", "normal"),
    [("/", "/"), ("/a/", "/a/"), ("//a//b", "/a/b"), ("/a/./b/../c", "/a/c"), ("/a/%2e%2e/b", "/b"), ("/../..", "/")],
)
def test_a_path_is_compared_as_envoy_normalises_it(path: str, normal: str) -> None:
    assert normalised(path) == normal
