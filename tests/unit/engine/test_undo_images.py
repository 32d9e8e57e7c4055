"""What recovery writes back: only what the drill changed, only where nobody else has touched it since."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from drills.engine.undo import (
    EndContainer,
    Record,
    RepairAgent,
    Restore,
    Undo,
    differences,
    digest,
    fresh,
    of_drill_pod,
    revert,
)
from drills.kube.references import Reference

KEY = "network.cilium.io/wg-pub-key"
NODE = Reference("cilium.io/v2", "ciliumnodes", "k8s-w1")


def node(annotations: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": "k8s-w1", "uid": "u1", "resourceVersion": "7"}
    return {"metadata": meta | ({} if annotations is None else {"annotations": annotations}), **more}


@pytest.mark.parametrize(
    ("before", "after", "current", "target", "conflicts", "foreign"),
    [
        pytest.param({KEY: "a"}, {KEY: "b"}, {KEY: "b"}, {KEY: "a"}, (), (), id="changed"),
        pytest.param({KEY: "a"}, {}, {}, {KEY: "a"}, (), (), id="removed"),
        pytest.param({KEY: "a"}, {}, None, {KEY: "a"}, (), (), id="removed-with-its-parent"),
        pytest.param(None, {KEY: "b"}, {KEY: "b"}, {}, (), (), id="added"),
        pytest.param({KEY: "a"}, {KEY: "b"}, {KEY: "a"}, None, (), (), id="never-made-or-healed"),
        pytest.param({KEY: "a"}, {KEY: "b"}, {KEY: "c"}, None, (f"metadata.annotations[{KEY}]",), (), id="conflict"),
        pytest.param({KEY: "a"}, {KEY: "b"}, {}, None, (f"metadata.annotations[{KEY}]",), (), id="removed-by-others"),
        pytest.param(
            {KEY: "a", "x": "1"}, {KEY: "b", "x": "1"}, {KEY: "b", "x": "2", "y": "3"},
            {KEY: "a", "x": "2", "y": "3"}, (), ("metadata.annotations.x", "metadata.annotations.y"), id="foreign",
        ),
        pytest.param(
            {KEY: "a", "x": "1"}, {KEY: "b", "x": "2"}, {KEY: "b", "x": "3"},
            {KEY: "a", "x": "3"}, ("metadata.annotations.x",), (), id="half-a-conflict",
        ),
    ],
)  # fmt: skip
def test_revert(
    before: dict[str, str] | None,
    after: dict[str, str],
    current: dict[str, str] | None,
    target: dict[str, str] | None,
    conflicts: tuple[str, ...],
    foreign: tuple[str, ...],
) -> None:
    found = revert(node(before), node(after), node(current))
    assert found.target == (None if target is None else node(target))
    assert (found.conflicts, found.foreign) == (conflicts, foreign)


def test_what_the_server_and_the_controllers_write_is_neither_ours_nor_foreign() -> None:
    now = node({KEY: "b"}, status={"ready": True})
    now["metadata"] |= {"resourceVersion": "9", "generation": 3, "managedFields": [{}]}
    found = revert(node({KEY: "a"}, status={}), node({KEY: "b"}), now)
    assert found.foreign == ()
    assert found.target is not None
    assert found.target["metadata"]["resourceVersion"] == "9"  # so that the API refuses it if it is older
    assert found.target["status"] == {"ready": True}


def test_field_that_somebody_made_a_mapping_of_is_kept() -> None:
    found = revert(node(spec={"x": "1"}), node(spec={}), node(spec={"x": {"y": "2"}}))
    assert found.target is None
    assert (found.conflicts, found.foreign) == (("spec.x",), ("spec.x.y",))


def test_lists_are_put_back_as_a_whole() -> None:
    before, after = node(spec={"addresses": [{"ip": "a"}]}), node(spec={"addresses": []})
    found = revert(before, after, copy.deepcopy(after))
    assert found.target is not None
    assert found.target["spec"] == {"addresses": [{"ip": "a"}]}


def test_field_that_became_a_mapping_becomes_a_value_again() -> None:
    found = revert(node(spec={"x": "1"}), node(spec={"x": {"y": "2"}}), node(spec={"x": {"y": "2"}}))
    assert found.target is not None
    assert found.target["spec"] == {"x": "1"}


documents = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
specs = st.dictionaries(st.sampled_from("abc"), documents, max_size=3)


@settings(max_examples=60)
@given(specs, specs)
def test_undisturbed_change_is_undone_entirely(before: dict[str, Any], after: dict[str, Any]) -> None:
    found = revert(node(spec=before), node(spec=after), node(spec=after))
    assert (found.conflicts, found.foreign) == ((), ())
    restored = node(spec=after) if found.target is None else found.target
    assert differences(node(spec=before), restored) == ()


@settings(max_examples=60)
@given(specs, specs, specs)
def test_reverting_twice_is_reverting_once(
    before: dict[str, Any], after: dict[str, Any], current: dict[str, Any]
) -> None:
    once = revert(node(spec=before), node(spec=after), node(spec=current))
    if once.target is not None:
        twice = revert(node(spec=before), node(spec=after), once.target)
        assert twice.target is None
        assert once.foreign == twice.foreign


def test_fresh_object_has_nothing_of_the_server() -> None:
    image = {"metadata": {"name": "keys", "labels": {"a": "b"}, "uid": "u", "resourceVersion": "1"}, "data": {"k": "v"}}
    assert fresh(image) == {"metadata": {"name": "keys", "labels": {"a": "b"}}, "data": {"k": "v"}}


def test_digest_is_of_what_users_write() -> None:
    assert digest(None) is None
    assert digest(node({"a": "1"})) == digest({**node({"a": "1"}), "status": {"x": 1}})
    assert digest(node({"a": "1"})) != digest(node({"a": "2"}))


def test_digest_of_a_secret_tells_nothing_of_its_values() -> None:
    def secret(data: dict[str, str], applied: str = "", **labels: str) -> dict[str, Any]:
        annotations = {"kubectl.kubernetes.io/last-applied-configuration": applied}
        return {"kind": "Secret", "metadata": {"name": "a", "annotations": annotations, "labels": labels}, "data": data}

    known = digest(secret({"key": "aHVudGVyMg=="}, "hunter2"))
    assert known == digest(secret({"key": "YW5vdGhlcg=="}, "another"))
    assert known != digest(secret({"other": "aHVudGVyMg=="}, "hunter2"))
    assert known != digest(secret({"key": "aHVudGVyMg=="}, "hunter2", app="a"))


@pytest.mark.parametrize(
    "undo",
    [
        of_drill_pod("frontend", "drill-x"),
        Restore(object=NODE, before=node({KEY: "a"}), after=None),
        RepairAgent(node="k8s-w1", run="20261122-1", published="cHVibGlj"),
        RepairAgent(node="k8s-w1"),
        EndContainer(namespace="frontend", pod="client-0.x", container="drill-client-abc123-1"),
    ],
)
def test_record_is_read_as_it_was_written(undo: Undo) -> None:
    record = Record(run="r", order=3, what="a change", at="now", undo=undo)
    text = record.model_dump_json(by_alias=True)
    assert Record.model_validate_json(text) == record
    assert '"schema":"drills/undo/v1"' in text


def test_record_of_a_version_that_did_not_write_down_the_key_is_read() -> None:
    undo = {"action": "repair-agent", "node": "k8s-w1", "run": "20261122-1"}
    old = {"schema": "drills/undo/v1", "run": "r", "order": 3, "what": "a change", "at": "now", "undo": undo}
    assert Record.model_validate(old).undo == RepairAgent(node="k8s-w1", run="20261122-1", published="")


@pytest.mark.parametrize(
    "undo",
    [
        {"action": "run", "command": "rm -rf /"},
        {"action": "delete", "objects": [], "then": "reboot"},
        {"action": "repair-agent", "node": "k8s-w1", "run": "../../etc/passwd"},
        {"action": "repair-agent", "node": "--all"},
        {"action": "end-container", "namespace": "kube-system", "pod": "cilium-x", "container": "cilium-agent"},
        {
            "action": "restore",
            "object": {"api_version": "v1", "plural": "pods", "name": "x"},
            "before": {},
            "after": {},
        },
    ],
)
def test_nothing_but_the_known_actions_is_read(undo: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Undo).validate_python(undo)
