"""Which rights follow from a playbook: from sources, targets, secrets and faults, and no wider than these."""

from __future__ import annotations

from pathlib import Path

import pytest

from drills.engine.publications import Where
from drills.engine.rights import needed
from drills.kube.rights import Right, least
from drills.playbook import Playbook, load

HEAD = """\
apiVersion: drills/v1
kind: Playbook
metadata: {name: test}
spec:
  guards: {allow: [capture, cluster-wide]}
  drills:
"""
HTTP = """\
  - name: one
    inject:
      http: {from: SOURCE, url: "http://api.back/x", rate: 5/s, duration: 1m}
    control:
      http: {from: SOURCE, url: "http://web.shop/"}
    expect: {denied: {status: 403}}
"""
FAULT = """\
  - name: fault
    inject:
      wireguard: {node: n1, fault: FAULT, duration: 1m}
    control:
      http: {from: {namespace: front}, url: "http://api.back/"}
    expect: {path: closed}
"""


def playbook(tmp_path: Path, text: str, head: str = HEAD) -> Playbook:
    path = tmp_path / "playbook.yaml"
    path.write_text(head + text)
    return load(path)


def test_publications_need_what_they_write(tmp_path: Path) -> None:
    """Events where the playbook acts, which its guards say; the result by name, once it is there."""
    of_sources = playbook(tmp_path, HTTP.replace("SOURCE", "{namespace: front}"))
    head = HEAD.replace("{allow:", "{namespaces: [front, back, shop], allow:")
    guarded = playbook(tmp_path, HTTP.replace("SOURCE", "{namespace: front}"), head)
    without = set(needed(of_sources))
    told = set(needed(of_sources, publish=[Where("events"), Where("configmap")])) - without
    assert {str(one) for one in told} == {
        "create events in front",
        "get events in front",
        "create configmaps in drills",
        "get configmaps drills-result-test in drills",
        "update configmaps drills-result-test in drills",
    }
    in_guards = set(needed(guarded, publish=[Where("events")])) - set(needed(guarded))
    assert {one.namespace for one in in_guards} == {"front", "back", "shop"}
    assert set(needed(of_sources, publish=[Where("scrape", "0.0.0.0:9090")])) == without


def of(found: list[Right], namespace: str | None) -> set[str]:
    """The rights of one namespace in short: ``get pods``, ``get services/api``."""
    return {
        f"{one.verb} {one.resource}{':' + one.name if one.name else ''}" for one in found if one.namespace == namespace
    }


def test_a_source_s_namespace_gets_drill_pods_and_the_target_s_only_looks(tmp_path: Path) -> None:
    found = needed(playbook(tmp_path, HTTP.replace("SOURCE", "{namespace: front, labels: {app: x}}")))
    assert {"create pods", "delete pods", "get pods/exec", "create configmaps", "list services"} <= of(found, "front")
    assert of(found, "back") == {"get services:api", "get endpoints:api", "get ciliumendpoints", "get pods"}
    assert of(found, "shop") == {"get services:web", "get endpoints:web"}  # the control's target is not guarded


def test_an_existing_pod_is_named_and_nothing_is_made_beside_it(tmp_path: Path) -> None:
    found = needed(playbook(tmp_path, HTTP.replace("SOURCE", "{pod: front/client}")))
    assert of(found, "front") == {
        "get pods:client", "get pods/exec:client", "create pods/exec:client", "get ciliumendpoints:client",
    }  # fmt: skip


def test_an_ephemeral_container_needs_one_right_more_on_that_pod_alone(tmp_path: Path) -> None:
    plain = needed(playbook(tmp_path, HTTP.replace("SOURCE", "{pod: front/client}")))
    found = needed(playbook(tmp_path, HTTP.replace("SOURCE", "{pod: front/client, ephemeral: true}")))
    assert of(found, "front") - of(plain, "front") == {"patch pods/ephemeralcontainers:client"}


def test_nothing_is_cluster_wide_but_reading_policies_rules_and_nodes(tmp_path: Path) -> None:
    found = needed(playbook(tmp_path, HTTP.replace("SOURCE", "{namespace: front}")))
    assert of(found, None) == {
        "list ciliumnetworkpolicies", "list ciliumclusterwidenetworkpolicies", "list prometheusrules", "list nodes",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "namespace", "more"),
    [
        ("key-replaced", None, {"get ciliumnodes:n1", "update ciliumnodes:n1"}),
        ("key-removed", None, {"get ciliumnodes:n1", "update ciliumnodes:n1"}),
        ("key-file-deleted", "kube-system", {"delete pods"}),
        ("device-deleted", "kube-system", {"delete pods"}),
        ("secret-deleted, secret: keys/wg", "keys", {"get secrets:wg", "delete secrets:wg", "create secrets"}),
    ],
)
def test_each_fault_needs_its_own_and_no_other(tmp_path: Path, fault: str, namespace: str, more: set[str]) -> None:
    found = needed(playbook(tmp_path, FAULT.replace("FAULT", fault)))
    other = "device-deleted" if namespace != "kube-system" else "key-removed"
    without = needed(playbook(tmp_path, FAULT.replace("FAULT", other)))
    assert of(found, namespace) - of(without, namespace) == more
    assert {"list ciliumnodes"} <= of(found, None)
    assert not any("pods" in one for one in of(found, "drills"))


def test_captures_need_pods_of_their_own_and_nothing_else_does(tmp_path: Path) -> None:
    text = FAULT.replace("FAULT", "key-replaced")
    without, found = (
        needed(playbook(tmp_path, one)) for one in (text, text.replace("{path", "{plaintext: none, path"))
    )
    assert of(found, "drills") - of(without, "drills") == {
        f"{verb} {resource}"
        for resource, verbs in (
            ("pods", "create get delete"),
            ("configmaps", "create get delete"),
            ("pods/exec", "get create"),
        )
        for verb in verbs.split()
    }
    assert [of(found, one) for one in (None, "front", "kube-system")] == [
        of(without, one) for one in (None, "front", "kube-system")
    ]


def test_only_the_chosen_drills_count(tmp_path: Path) -> None:
    found = playbook(tmp_path, HTTP.replace("SOURCE", "{namespace: front}") + FAULT.replace("FAULT", "key-removed"))
    assert not any(one.resource == "ciliumnodes" for one in needed(found, found.drills[:1]))


def test_what_another_right_includes_is_left_out_and_reasons_are_kept() -> None:
    wide = Right("", "pods", "get", "a", None, "one")
    assert least([wide, Right("", "pods", "get", "a", "x"), Right("", "pods", "get", "a", None, "two")]) == [wide]
    assert least([wide, Right("", "pods", "get", "a", None, "two")])[0].reason == "one; two"
    everywhere = Right("cilium.io", "ciliumnodes", "get", None)
    assert least([Right("cilium.io", "ciliumnodes", "get", None, "n1"), everywhere]) == [everywhere]


def test_a_right_in_words() -> None:
    assert str(Right("", "pods/exec", "get", "a", "x")) == "get pods/exec x in a"
    assert str(Right("cilium.io", "ciliumnodes", "list", None)) == "list ciliumnodes.cilium.io cluster-wide"


def test_silences_are_made_and_ended_at_a_proxied_alertmanager_and_nowhere_else(tmp_path: Path) -> None:
    expected = "{denied: {status: 403}, alerts: [{name: Denied, within: 1m}]}"
    text = HTTP.replace("SOURCE", "{namespace: front}").replace("{denied: {status: 403}}", expected)
    quiet = playbook(tmp_path, text.replace("  - name: one\n", "  - name: one\n    notify: silence\n"))
    at = ("service:mon/prometheus:9090", "service:mon/https:alertmanager:web/am")
    assert of(needed(quiet, None, at, alertmanager=at[1]), "mon") == {
        "get services/proxy:prometheus:9090", "get services/proxy:https:alertmanager:web",
        "create services/proxy:https:alertmanager:web", "delete services/proxy:https:alertmanager:web",
    }  # fmt: skip
    loud = playbook(tmp_path, text)
    assert {one.split()[0] for one in of(needed(loud, None, at, alertmanager=at[1]), "mon")} == {"get"}
    assert needed(quiet, None, (), alertmanager="http://am.example:9093") == needed(quiet)
