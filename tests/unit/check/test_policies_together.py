"""Policies against each other and against what else was given: what one says alone, another may make right or void."""

from __future__ import annotations

import pytest
from policy_world import check, rules

from drills.check.finding import Level
from drills.check.policies.examples import api, deployment, documents, http, ingress, policy
from drills.errors import InputError

NAMES = policy(
    "endpointSelector: {matchLabels: {app: api}}\n"
    "egress: [{toFQDNs: [{matchName: api.example.com}, {matchPattern: '*.example.org'}]}]\n"
)


def lookups(selector: str, patterns: str, namespace: str = "backend") -> str:
    """A policy that lets names be looked up."""
    peer = "{matchLabels: {k8s-app: kube-dns, io.kubernetes.pod.namespace: kube-system}}"
    ports = f"{{ports: [{{port: '53', protocol: ANY}}], rules: {{dns: [{patterns}]}}}}"
    spec = f"endpointSelector: {selector}\negress: [{{toEndpoints: [{peer}], toPorts: [{ports}]}}]\n"
    return policy(spec, name="allow-dns", namespace=namespace)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (lookups("{}", "{matchPattern: '*'}"), []),
        (lookups("{matchLabels: {app: api}}", "{matchName: api.example.com}, {matchPattern: '**.example.org'}"), []),
        (lookups("{matchLabels: {app: api}}", "{matchName: API.example.com.}, {matchName: www.example.org}"), []),
        (lookups("{matchLabels: {app: api}}", "{matchPattern: '*.example.org'}"), ["fqdn-without-dns-rule"]),
        (lookups("{matchLabels: {app: web}}", "{matchPattern: '*'}"), ["fqdn-without-dns-rule"] * 2),
        (lookups("{}", "{matchPattern: '*'}", "frontend"), ["fqdn-without-dns-rule"] * 2),
        (lookups("{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}", "{matchPattern: '*'}"), []),
    ],
)
def test_a_dns_rule_of_another_policy_counts_where_it_selects_the_same_pods(other: str, found: list[str]) -> None:
    assert rules(check(documents(NAMES, other))) == found


def test_with_workloads_given_every_selected_pod_must_be_able_to_look_up() -> None:
    template = deployment("api", "backend").replace("{labels: {app: api}}", "{labels: {app: api, tier: back}}")
    other = lookups("{matchLabels: {tier: back}}", "{matchPattern: '*'}")
    assert rules(check(documents(NAMES, other))) == ["fqdn-without-dns-rule"] * 2
    assert rules(check(documents(NAMES, other, template))) == []


@pytest.mark.parametrize(
    ("peers", "ports", "void"),
    [
        ("fromEndpoints: [{}]", "{port: '80', protocol: TCP}", True),
        ("fromEndpoints: [{}]", "{port: '80'}", True),
        ("fromEntities: [cluster]", "{port: '1', endPort: 90, protocol: TCP}", True),
        ("fromEntities: [all]", "{port: '0'}", True),
        ("fromEndpoints: [{}]", "{port: '81', protocol: TCP}", False),
        ("fromEndpoints: [{}]", "{port: '80', protocol: UDP}", False),
        ("fromEndpoints: [{matchLabels: {app: other}}]", "{port: '80', protocol: TCP}", False),
        ("fromEntities: [world]", "{port: '80', protocol: TCP}", False),
        ("fromEndpoints: []", "{port: '80', protocol: TCP}", False),
    ],
)
def test_http_rules_are_void_where_the_same_peer_may_use_the_port_anyway(peers: str, ports: str, void: bool) -> None:
    limited = http('- {method: GET, path: "/"}\n')
    other = ingress(f"- {peers}\n  toPorts: [{{ports: [{ports}]}}]\n").replace("name: api,", "name: other,")
    found = [each for each in check(documents(limited, other)) if each.rule == "cilium/l7-void"]
    assert len(found) == void
    assert all("backend/other allows the same port" in each.effect for each in found)


def test_a_policy_that_is_refused_makes_nothing_void() -> None:
    limited = http('- {method: GET, path: "/"}\n')
    other = ingress("- fromEndpoints: [{}]\n  fromEntities: [world]\n").replace("name: api,", "name: other,")
    assert rules(check(documents(limited, other))) == ["mixed-peers"]


def test_enforcing_nothing_is_no_void_rule() -> None:
    watching = http('- {method: GET, path: "/"}\n') + "  enableDefaultDeny: {ingress: false}\n"
    assert check(watching) == []


@pytest.mark.parametrize(
    ("cilium", "level"),
    [("1.14", Level.WARNING), ("1.19", Level.WARNING), ("1.20", Level.ERROR), ("v1.20.3", Level.ERROR)],
)
def test_kafka_is_gone_in_1_20(cilium: str, level: Level) -> None:
    text = http("- {}\n").replace("http:", "kafka:").replace("- {}", "- {role: consume, topic: events}")
    (found,) = check(text, cilium=cilium)
    assert (found.rule, found.level) == ("cilium/removed-l7", level)


@pytest.mark.parametrize(("cilium", "level"), [("1.18", Level.WARNING), ("1.19", Level.ERROR)])
def test_requires_are_gone_in_1_19(cilium: str, level: Level) -> None:
    (found,) = check(ingress("- fromRequires: [{matchLabels: {team: shop}}]\n"), cilium=cilium)
    assert (found.rule, found.level) == ("cilium/removed-requires", level)


@pytest.mark.parametrize(("cilium", "found"), [("1.18", []), ("1.19", ["needs-setting"])])
def test_mutual_authentication_is_off_by_default_from_1_19_on(cilium: str, found: list[str]) -> None:
    text = ingress("- fromEndpoints: [{matchLabels: {app: web}}]\n  authentication: {mode: required}\n")
    assert rules(check(text, cilium=cilium)) == found


@pytest.mark.parametrize("cilium", ["", "1", "x.y", "1.x"])
def test_a_release_must_be_one(cilium: str) -> None:
    with pytest.raises(InputError, match="no release of Cilium"):
        check(NAMES, cilium=cilium)


@pytest.mark.parametrize("namespaces", [1, 40])
def test_many_policies_say_what_each_says_alone(namespaces: int) -> None:
    """The indexes leave nobody out."""
    alone = check(documents(NAMES, lookups("{}", "{matchPattern: '*.example.org'}")))
    many = [
        text.replace("namespace: backend", f"namespace: n{number}")
        for number in range(namespaces)
        for text in (NAMES, lookups("{}", "{matchPattern: '*.example.org'}"))
    ]
    assert rules(check(documents(*many))) == rules(alone) * namespaces


@pytest.mark.parametrize(
    ("section", "says", "not_said"),
    [
        ("ingress: [{fromEndpoints: [{matchLabels: {app: ok}}]}, {fromServices: []}]",
         "no ingress; the policy's other elements allow ingress from pods app=ok of namespace backend on every port; "
         "all other ingress of theirs is denied", "at all"),
        ("ingress: [{fromServices: []}]", "no ingress at all; all other ingress of theirs is denied", "other elements"),
        ("ingressDeny: [{fromEndpoint: []}]", "what is left here denies nothing; ingress of pods app=api of namespace "
         "backend is in default deny by it, and this policy allows none", "only"),
        ("ingress: [{fromEntities: [all]}]\ningressDeny: [{fromEndpoint: []}]",
         "is in default deny by it, and allowed from everybody, the world included on every port only", "none"),
        ("enableDefaultDeny: {ingress: false}\ningressDeny: [{fromEndpoint: []}]",
         "what is left here denies nothing.", "default deny"),
        ("action: deny\nenableDefaultDeny: {ingress: true}\ningressDeny: [{fromEntities: [world]}]",
         "ingress is denied by default and allowed from nobody only and ingress from everything outside of the cluster "
         "on every port is denied", "says nothing"),
    ],
)  # fmt: skip
def test_the_effect_of_a_lost_field_knows_the_rest_of_the_policy(section: str, says: str, not_said: str) -> None:
    effects = [each.effect for each in check(api(section)) if each.rule == "cilium/unknown-field"]
    assert len(effects) == 1
    assert says in effects[0]
    assert not_said not in effects[0].partition("without the field")[2]


def test_a_misspelt_field_of_metadata_has_a_near_one() -> None:
    (found,) = check(ingress("- fromEntities: [all]\n").replace("{name: api,", "{label: {a: b}, name: api,"))
    assert found.fix == 'Did you mean "labels"?'


@pytest.mark.parametrize(
    ("narrow", "says"),
    [("toServices: [{k8sService: {serviceName: nope, namespace: backend}}]", False),
     ("toGroups: [{aws: {region: x}}]", False), ("toEndpoints: [{matchLabels: {app: db}}]", True)],
)  # fmt: skip
def test_a_wide_entity_is_not_said_to_cover_what_nobody_knows(narrow: str, says: bool) -> None:
    found = check(api(f"egress: [{{{narrow}}}, {{toEntities: [cluster]}}]"))
    (entity,) = [each for each in found if each.rule == "cilium/entity-all"]
    assert ("restricts nothing beside it" in entity.effect) == says


def test_a_pod_on_its_node_s_network_is_nobody_s_subject() -> None:
    on_node = deployment("api", "backend").replace("      containers:", "      hostNetwork: true\n      containers:")
    (found,) = check(documents(api("ingress: [{}]\n"), on_node))
    assert found.rule == "cilium/selects-nothing"
    assert "Deployment backend/api is on its node's network" in found.message
    other = deployment("api", "backend").replace("metadata: {name: api,", "metadata: {name: other,", 1)
    assert check(documents(api("ingress: [{}]\n"), on_node, other)) == []


@pytest.mark.parametrize(("kind", "word"), [("CiliumNetworkPolicy", "cnp"), ("CiliumClusterwideNetworkPolicy", "ccnp")])
def test_where_to_look_is_told_by_kind(kind: str, word: str) -> None:
    spec = "endpointSelector: {matchLabels: {app: api}}\ningress: [{fromEndpoints: [{}], fromEntities: [world]}]\n"
    (found,) = check(policy(spec, kind=kind, namespace="backend" if word == "cnp" else None))
    assert f"`kubectl get {word}` shows VALID False" in found.effect


def test_a_setting_is_needed_where_it_is_first_needed() -> None:
    nodes = "[{matchLabels: {a: b}}]"
    text = api(f"ingress: [{{fromNodes: {nodes}}}]\negress: [{{toNodes: {nodes}}}]\n")
    (found,) = check(text)
    line = text.splitlines()[found.place.line - 1]
    assert line.startswith("  ingress: ")
    assert line[found.place.column - 1 :].startswith(nodes[1:])


KUBERNETES = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: dns, namespace: NAMESPACE}
spec: {podSelector: SELECTOR, policyTypes: [Egress], egress: [RULE]}
"""


@pytest.mark.parametrize(
    ("namespace", "selector", "rule", "allowed"),
    [
        ("backend", "{}", "{ports: [{port: 53, protocol: UDP}]}", True),
        ("backend", "{matchLabels: {app: api}}", "{ports: [{port: 53}]}", True),
        ("backend", "{matchExpressions: [{key: app, operator: In, values: [api]}]}", "{to: [{podSelector: {}}]}", True),
        ("backend", "{}", "{ports: [{port: dns}]}", True),
        ("backend", "{}", "{ports: [{port: 50, endPort: 60}]}", True),
        ("backend", "{matchLabels: {app: web}}", "{ports: [{port: 53}]}", False),
        ("frontend", "{}", "{ports: [{port: 53}]}", False),
        ("backend", "{}", "{ports: [{port: 443}]}", False),
        ("backend", "{}", "{ports: [{port: 53, protocol: SCTP}]}", False),
        ("backend", "{matchLabels: 3}", "{ports: [{port: 53}]}", False),
    ],
)
def test_a_kubernetes_policy_may_allow_lookups(namespace: str, selector: str, rule: str, allowed: bool) -> None:
    other = KUBERNETES.replace("NAMESPACE", namespace).replace("SELECTOR", selector).replace("RULE", rule)
    text = api("egress: [{toEndpoints: [{matchLabels: {app: db}}]}]\n")
    assert rules(check(documents(text, other))) == ([] if allowed else ["egress-without-dns"])
