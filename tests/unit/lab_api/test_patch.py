"""The three patches, as RFC 6902, RFC 7386 and Kubernetes have them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drills.lab.api.objects import merge_difference
from drills.lab.api.patch import PatchError, json_patch, merge_patch
from drills.lab.api.schema import builtin
from drills.lab.api.strategic import MERGE_KEYS, Strategic

LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
)
OBJECTS = st.dictionaries(st.text(max_size=2), JSON, max_size=4)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


# RFC 7386, appendix A
@pytest.mark.parametrize(("target", "patch", "result"), [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
])  # fmt: skip
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@settings(max_examples=40, deadline=None)
@given(OBJECTS, OBJECTS)
def test_a_merge_difference_leads_to_what_is_wanted(last: dict[str, Any], wanted: dict[str, Any]) -> None:
    last, wanted = without_nulls(last), without_nulls(wanted)
    assert merge_patch(last, merge_difference(last, wanted)) == wanted


@pytest.mark.parametrize(("operations", "result"), [
    ([{"op": "add", "path": "/b", "value": 1}], {"a": {"x": [1, 2]}, "b": 1}),
    ([{"op": "add", "path": "/a/x/1", "value": 9}], {"a": {"x": [1, 9, 2]}}),
    ([{"op": "add", "path": "/a/x/-", "value": 3}], {"a": {"x": [1, 2, 3]}}),
    ([{"op": "remove", "path": "/a/x/0"}], {"a": {"x": [2]}}),
    ([{"op": "replace", "path": "/a/x", "value": 0}], {"a": {"x": 0}}),
    ([{"op": "replace", "path": "/a/x/1", "value": 0}], {"a": {"x": [1, 0]}}),
    ([{"op": "move", "from": "/a/x", "path": "/y"}], {"a": {}, "y": [1, 2]}),
    ([{"op": "copy", "from": "/a/x/0", "path": "/y"}], {"a": {"x": [1, 2]}, "y": 1}),
    ([{"op": "test", "path": "/a/x/0", "value": 1}], {"a": {"x": [1, 2]}}),
    ([{"op": "test", "path": "/nothing", "value": None}], {"a": {"x": [1, 2]}}),
    ([{"op": "add", "path": "/a/app~1k~0", "value": 1}], {"a": {"x": [1, 2], "app/k~": 1}}),
])  # fmt: skip
def test_json_patch(operations: Any, result: Any) -> None:
    assert json_patch({"a": {"x": [1, 2]}}, operations) == result


@pytest.mark.parametrize(("operations", "why"), [
    ({}, "a list"),
    ([{"op": "remove", "path": "/b"}], "does not exist"),
    ([{"op": "replace", "path": "/b", "value": 1}], "does not exist"),
    ([{"op": "add", "path": "/b/c", "value": 1}], "does not exist"),
    ([{"op": "add", "path": "/a/x/7", "value": 1}], "out of range"),
    ([{"op": "test", "path": "/a", "value": 1}], "failed"),
    ([{"op": "add", "path": "/b"}], "needs a value"),
    ([{"op": "turn", "path": "/b"}], "unexpected kind"),
    ([{"op": "add", "path": "b", "value": 1}], "no JSON pointer"),
    ([{"op": "remove", "path": ""}], "no object"),
    (["x"], "needs op and path"),
])  # fmt: skip
def test_a_json_patch_that_does_not_fit(operations: Any, why: str) -> None:
    with pytest.raises(PatchError, match=why):
        json_patch({"a": {"x": [1, 2]}}, operations)


def deployment(*env: tuple[str, str], **container: Any) -> dict[str, Any]:
    entries = [{"name": name, "value": value} for name, value in env]
    return {"spec": {"template": {"spec": {"containers": [{"name": "web", "env": entries, **container}]}}}}


@pytest.fixture(scope="module")
def strategic() -> Strategic:
    return Strategic(builtin(), "v1.Deployment")


def test_every_merge_key_names_a_field_of_the_schema() -> None:
    for name, fields in MERGE_KEYS.items():
        assert set(fields) <= set(builtin()[name]["properties"]), name


def test_a_list_with_a_merge_key_is_merged(strategic: Strategic) -> None:
    merged = strategic.apply(deployment(("A", "1"), ("B", "2"), image="i"), deployment(("B", "3"), ("C", "4")))
    assert merged == deployment(("A", "1"), ("B", "3"), ("C", "4"), image="i")


def test_a_list_without_one_is_replaced(strategic: Strategic) -> None:
    assert strategic.apply(deployment(args=["a", "b"]), deployment(args=["c"])) == deployment(args=["c"])


def test_an_item_is_deleted_by_its_key(strategic: Strategic) -> None:
    patch = deployment()
    patch["spec"]["template"]["spec"]["containers"][0]["env"] = [{"$patch": "delete", "name": "A"}]
    assert strategic.apply(deployment(("A", "1"), ("B", "2")), patch) == deployment(("B", "2"))


def test_a_whole_list_is_replaced_on_demand(strategic: Strategic) -> None:
    patch = deployment()
    patch["spec"]["template"]["spec"]["containers"][0]["env"] = [{"$patch": "replace"}, {"name": "Z", "value": "9"}]
    assert strategic.apply(deployment(("A", "1")), patch) == deployment(("Z", "9"))


def test_the_order_of_the_patch_is_kept(strategic: Strategic) -> None:
    patch = deployment(("C", "3"))
    patch["spec"]["template"]["spec"]["containers"][0]["$setElementOrder/env"] = [{"name": "C"}, {"name": "A"}]
    assert strategic.apply(deployment(("A", "1"), ("B", "2")), patch) == deployment(("C", "3"), ("B", "2"), ("A", "1"))


def test_only_the_retained_keys_stay(strategic: Strategic) -> None:
    live = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic.apply(live, patch) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_finalizers_are_a_set(strategic: Strategic) -> None:
    live = {"metadata": {"finalizers": ["a", "b"]}}
    assert strategic.apply(live, {"metadata": {"finalizers": ["b", "c"]}}) == {
        "metadata": {"finalizers": ["a", "b", "c"]}
    }
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert strategic.apply(live, patch) == {"metadata": {"finalizers": ["b"]}}


def test_services_keep_two_ports_of_one_number() -> None:
    dns = {"spec": {"ports": [{"name": "udp", "port": 53, "protocol": "UDP"}, {"name": "tcp", "port": 53}]}}
    order = {"spec": {"$setElementOrder/ports": [{"port": 53}, {"port": 53}], "clusterIP": "10.96.0.10"}}
    merged = Strategic(builtin(), "v1.Service").apply(dns, order)
    assert merged["spec"]["ports"] == dns["spec"]["ports"]


def test_a_patch_without_its_merge_key_is_refused(strategic: Strategic) -> None:
    with pytest.raises(PatchError, match="declared merge key: name"):
        strategic.apply(deployment(), {"spec": {"template": {"spec": {"containers": [{"image": "i"}]}}}})


def test_apply_keeps_what_others_added_and_removes_what_it_dropped(strategic: Strategic) -> None:
    last = deployment(("A", "1"), ("B", "2"), image="old", tty=True)
    live = deployment(("A", "1"), ("B", "2"), ("INJECTED", "x"), image="old", tty=True, imagePullPolicy="Always")
    wanted = deployment(("A", "9"), image="new")
    applied = strategic.apply(live, strategic.three_way(last, wanted))
    assert applied == deployment(("A", "9"), ("INJECTED", "x"), image="new", imagePullPolicy="Always")
    assert strategic.apply(applied, strategic.three_way(wanted, wanted)) == applied
