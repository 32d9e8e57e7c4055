"""Selectors and identities: which pods a label selector means, and where it looks for them."""

from __future__ import annotations

from typing import Any

import pytest
from cilium_world import few, pod
from hypothesis import given
from hypothesis import strategies as st

from drills.cilium.labels import HEALTH, HOST, INIT, KUBE_APISERVER, RESERVED, WORLD, identity_labels, identity_relevant
from drills.cilium.parts import LabelSelector
from drills.cilium.selector import peer_selector, plain, subject_selector

NAMESPACE_LABEL = "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name"


def selector(labels: dict[str, str] | None = None, *expressions: Any) -> LabelSelector:
    found = [{"key": key, "operator": operator, "values": values} for key, operator, values in expressions]
    return LabelSelector.model_validate({"matchLabels": labels or {}, "matchExpressions": found})


@pytest.mark.parametrize(
    ("labels", "expressions", "here", "there"),
    [
        ({}, [], True, False),
        ({"app": "frontend"}, [], True, False),
        ({"k8s:app": "frontend"}, [], True, False),
        ({"any:app": "frontend"}, [], True, False),
        ({"container:app": "frontend"}, [], False, False),
        ({"app": "other"}, [], False, False),
        ({"io.kubernetes.pod.namespace": "there"}, [], False, True),
        ({"k8s:io.kubernetes.pod.namespace": "there"}, [], False, True),
        ({}, [("k8s:io.kubernetes.pod.namespace", "Exists", None)], True, True),
        ({}, [("io.kubernetes.pod.namespace", "In", ["here", "there"])], True, True),
        ({}, [("io.kubernetes.pod.namespace", "NotIn", ["here"])], False, True),
        ({NAMESPACE_LABEL: "there"}, [], False, True),
        ({f"k8s:{NAMESPACE_LABEL}": "there", "app": "frontend"}, [], False, True),
        ({"name": "there"}, [], False, False),
        ({}, [("app", "In", ["frontend", "backend"])], True, False),
        ({}, [("app", "NotIn", ["frontend"])], False, False),
        ({}, [("missing", "NotIn", ["x"])], True, False),
        ({}, [("missing", "DoesNotExist", None)], True, False),
        ({}, [("app", "Exists", None), ("app", "In", ["backend"])], False, False),
        ({"io.cilium.k8s.policy.serviceaccount": "default"}, [], True, False),
        ({"io.cilium.k8s.policy.serviceaccount": "robot"}, [], False, False),
        ({"io.cilium.k8s.policy.cluster": "default"}, [], True, False),
        ({"io.cilium.k8s.policy.cluster": "other"}, [], False, False),
    ],
)
def test_peers_of_a_namespaced_policy(labels: dict[str, str], expressions: list[Any], here: bool, there: bool) -> None:
    found = peer_selector(selector(labels, *expressions), "here")
    seen = [found.matches(pod(namespace, "frontend").identity.labels) for namespace in ("here", "there")]
    assert seen == [here, there]


def test_peers_of_a_clusterwide_policy_are_pods_of_every_namespace() -> None:
    found = peer_selector(selector(), None)
    assert found.matches(pod("anywhere", "x").identity.labels)
    assert not any(found.matches(each.labels) for each in RESERVED.values())


def test_reserved_labels_are_taken_as_written() -> None:
    found = peer_selector(selector({"reserved:host": ""}), "here")
    assert found.matches(HOST.labels)
    assert not found.matches(WORLD.labels)


def test_a_policy_for_initialising_pods_means_pods_without_labels() -> None:
    assert subject_selector(selector({"reserved:init": ""}), None).matches(INIT.labels)
    assert peer_selector(selector(), None, subject_is_init=True).matches(HEALTH.labels)


@pytest.mark.parametrize(
    ("labels", "selected"),
    [
        ({}, ["here"]),
        ({"k8s:io.kubernetes.pod.namespace": "there"}, ["here"]),  # replaced
        ({"io.kubernetes.pod.namespace": "there"}, []),  # of any source, so it stays beside the policy's own
        ({"io.kubernetes.pod.namespace": "here"}, ["here"]),
    ],
)
def test_a_subject_never_leaves_the_policys_namespace(labels: dict[str, str], selected: list[str]) -> None:
    found = subject_selector(selector(labels), "here")
    assert [name for name in ("here", "there") if found.matches(pod(name, "x").identity.labels)] == selected


@pytest.mark.parametrize(
    ("key", "relevant"),
    [
        ("app", True),
        ("app.kubernetes.io/name", True),
        ("k8s-app", True),
        ("pod-template-hash", False),
        ("controller-revision-hash", False),
        ("statefulset.kubernetes.io/pod-name", False),
        ("apps.kubernetes.io/pod-index", False),
        ("kubernetes.io/role", False),
        ("k8s.io/x", False),
        ("topology.kubernetes.io/zone", False),
        ("batch.kubernetes.io/controller-uid", False),
        ("io.kubernetes.pod.namespace", True),
        ("drills/run", True),
    ],
)
def test_labels_that_make_an_identity(key: str, relevant: bool) -> None:
    assert identity_relevant(key) is relevant


def test_identity_of_a_pod() -> None:
    found = identity_labels({"app": "a", "pod-template-hash": "x"}, "ns", {"team": "red"}, "robot")
    assert dict(found) == {
        "k8s:app": "a",
        "k8s:io.cilium.k8s.namespace.labels.team": "red",
        "k8s:io.cilium.k8s.policy.cluster": "default",
        "k8s:io.cilium.k8s.policy.serviceaccount": "robot",
        "k8s:io.kubernetes.pod.namespace": "ns",
    }


def test_reserved_identities() -> None:
    numbers = {name: identity.number for name, identity in RESERVED.items()}
    assert numbers == {
        "host": 1, "world": 2, "unmanaged": 3, "health": 4, "init": 5, "remote-node": 6, "kube-apiserver": 7,
        "ingress": 8,
    }  # fmt: skip
    assert [KUBE_APISERVER.reserved, WORLD.outside, HOST.outside] == ["kube-apiserver", True, False]
    assert WORLD.printable() == ["reserved:world"]


words = st.sampled_from(["app", "tier", "k8s:app", "any:tier"])
values = st.sampled_from(["a", "b"])
expressions = st.tuples(words, st.sampled_from(["In", "NotIn"]), st.lists(values, min_size=1, max_size=2))


@few
@given(st.dictionaries(words, values), st.lists(expressions, max_size=3), st.dictionaries(words, values))
def test_more_conditions_never_select_more(
    labels: dict[str, str], conditions: list[Any], pod_labels: dict[str, str]
) -> None:
    bare = {key.rpartition(":")[2]: value for key, value in pod_labels.items()}
    seen = identity_labels(bare, "here", {})
    assert plain(selector(labels, *conditions)).matches(seen) <= plain(selector(labels)).matches(seen)
    assert plain(selector({}, *conditions)).matches(seen) == all(
        plain(selector({}, each)).matches(seen) for each in conditions
    )


@few
@given(words, values, st.dictionaries(st.sampled_from(["app", "tier"]), values))
def test_not_in_is_the_opposite_of_in(key: str, value: str, labels: dict[str, str]) -> None:
    seen = identity_labels(labels, "here", {})
    inside = plain(selector({}, (key, "In", [value]))).matches(seen)
    assert plain(selector({}, (key, "NotIn", [value]))).matches(seen) is not inside
