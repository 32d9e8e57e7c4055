"""Strategic merge patch: how kubectl changes built-in kinds, and how ``apply`` finds out what to change.

Lists with a merge key are merged by it instead of being replaced. The keys are the ``patchMergeKey`` tags
of k8s.io/api (core/v1, apps/v1, batch/v1, meta/v1 types.go), which the client's models do not carry.
Directives: ``$patch``, ``$deleteFromPrimitiveList/``, ``$setElementOrder/``, ``$retainKeys``.
"""

from __future__ import annotations

import copy
from typing import Any

from drills.lab.api.patch import PatchError
from drills.lab.api.schema import Definitions, Schema, child, resolve
from drills.lab.api.types import Obj

PRIMITIVE = ""  # a list of plain values that merges as a set

_POD_SPEC = {
    "containers": "name", "initContainers": "name", "ephemeralContainers": "name", "volumes": "name",
    "imagePullSecrets": "name", "hostAliases": "ip", "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name", "schedulingGates": "name",
}  # fmt: skip
_CONTAINER = {"ports": "containerPort", "env": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath"}
_CONDITIONS = {"conditions": "type"}
MERGE_KEYS: dict[str, dict[str, str]] = {
    "v1.ObjectMeta": {"ownerReferences": "uid", "finalizers": PRIMITIVE},
    "v1.PodSpec": _POD_SPEC,
    "v1.Container": _CONTAINER,
    "v1.EphemeralContainer": _CONTAINER,
    "v1.ServiceSpec": {"ports": "port"},
    "v1.ServiceAccount": {"secrets": "name"},
    "v1.NodeSpec": {"podCIDRs": PRIMITIVE},
    "v1.NodeStatus": {"conditions": "type", "addresses": "type"},
    "v1.PodStatus": {"conditions": "type", "podIPs": "ip", "hostIPs": "ip"},
    "v1.ProjectedVolumeSource": {},
    **dict.fromkeys(
        ("v1.DeploymentStatus", "v1.ReplicaSetStatus", "v1.StatefulSetStatus", "v1.DaemonSetStatus", "v1.JobStatus",
         "v1.ServiceStatus", "v1.NamespaceStatus"),
        _CONDITIONS,
    ),
}  # fmt: skip

_ORDER, _DELETE_PRIMITIVES, _RETAIN, _PATCH = "$setElementOrder/", "$deleteFromPrimitiveList/", "$retainKeys", "$patch"


class Strategic:
    """Strategic merge patches for objects of one definition (``v1.Deployment``)."""

    def __init__(self, definitions: Definitions, name: str) -> None:
        self._definitions = definitions
        self._root = definitions[name]
        self._names = {id(schema): name for name, schema in definitions.items()}

    def apply(self, target: Obj, patch: Any) -> Obj:
        """The target after the patch; neither argument is changed. Raises PatchError."""
        if not isinstance(patch, dict):
            raise PatchError("a strategic merge patch is an object")
        return self._object(self._root, target, patch)

    def three_way(self, last: Obj, wanted: Obj) -> Obj:
        """The patch that ``apply`` sends: what is wanted, without what was applied before and is gone from it."""
        return self._diff(self._root, last, wanted)

    def _child(self, schema: Schema | None, key: str) -> Schema | None:
        return None if schema is None else child(schema, key, self._definitions)

    def _item(self, schema: Schema | None) -> Schema | None:
        items = (schema or {}).get("items")
        return None if items is None else resolve(items, self._definitions)

    def _merge_key(self, schema: Schema | None, field: str) -> str | None:
        """The key by which a list field merges; None where the list is replaced as a whole."""
        return MERGE_KEYS.get(self._names.get(id(schema), ""), {}).get(field)

    # applying

    def _object(self, schema: Schema | None, target: Any, patch: Obj) -> Obj:
        directive = patch.get(_PATCH)
        if directive == "delete":
            return {}
        if directive == "replace":
            return {key: copy.deepcopy(value) for key, value in patch.items() if key != _PATCH}
        if directive not in (None, "merge"):
            raise PatchError(f"unknown {_PATCH} type {directive!r}")
        merged = dict(target) if isinstance(target, dict) else {}
        if _RETAIN in patch:
            merged = {key: value for key, value in merged.items() if key in patch[_RETAIN]}
        for key, value in patch.items():
            if key.startswith(_DELETE_PRIMITIVES):
                field = key.removeprefix(_DELETE_PRIMITIVES)
                merged[field] = [item for item in merged.get(field) or [] if item not in value]
            elif not key.startswith("$"):
                self._field(schema, merged, key, value, patch.get(_ORDER + key))
        for key in patch:
            field = key.removeprefix(_ORDER)
            if key.startswith(_ORDER) and field not in patch and isinstance(merged.get(field), list):
                merged[field] = _ordered(merged[field], patch[key], self._merge_key(schema, field))
        return merged

    def _field(self, schema: Schema | None, merged: Obj, key: str, value: Any, order: Any) -> None:
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = self._object(self._child(schema, key), merged.get(key), value)
        elif isinstance(value, list) and (by := self._merge_key(schema, key)) is not None:
            live = merged.get(key) or []
            items = self._list(self._item(self._child(schema, key)), live, value, by)
            merged[key] = _ordered(items, order, by) if order is not None else items
        else:
            merged[key] = copy.deepcopy(value)

    def _list(self, item_schema: Schema | None, live: list[Any], patch: list[Any], by: str) -> list[Any]:
        if by == PRIMITIVE:
            return live + [item for item in patch if item not in live]
        if {_PATCH: "replace"} in patch:
            return [copy.deepcopy(item) for item in patch if item != {_PATCH: "replace"}]
        result = list(live)
        for item in patch:
            if not isinstance(item, dict) or by not in item:
                raise PatchError(f"map: {item} does not contain declared merge key: {by}")
            same = [index for index, old in enumerate(result) if isinstance(old, dict) and old.get(by) == item[by]]
            if item.get(_PATCH) == "delete":
                result = [old for index, old in enumerate(result) if index not in same]
            elif same:
                result[same[0]] = self._object(item_schema, result[same[0]], item)
            else:
                result.append(self._object(item_schema, {}, item))
        return result

    # finding the difference

    def _diff(self, schema: Schema | None, last: Obj, wanted: Obj) -> Obj:
        patch: Obj = {key: None for key in last if key not in wanted}
        for key, value in wanted.items():
            before = last.get(key)
            if isinstance(value, dict) and isinstance(before, dict):
                patch[key] = self._diff(self._child(schema, key), before, value)
            elif isinstance(value, list) and isinstance(before, list):
                patch |= self._list_diff(schema, key, before, value)
            else:
                patch[key] = copy.deepcopy(value)
        return patch

    def _list_diff(self, schema: Schema | None, key: str, last: list[Any], wanted: list[Any]) -> Obj:
        by = self._merge_key(schema, key)
        if by is None:
            return {key: copy.deepcopy(wanted)}
        if by == PRIMITIVE:
            gone = [item for item in last if item not in wanted]
            return {key: list(wanted)} | ({_DELETE_PRIMITIVES + key: gone} if gone else {})
        before = {item[by]: item for item in last if isinstance(item, dict) and by in item}
        item_schema = self._item(self._child(schema, key))
        changed: list[Any] = []
        for item in wanted:
            if not isinstance(item, dict) or by not in item:
                return {key: copy.deepcopy(wanted)}
            changed.append({**self._diff(item_schema, before.get(item[by], {}), item), by: item[by]})
        kept = {item[by] for item in wanted}
        gone = [{_PATCH: "delete", by: value} for value in before if value not in kept]
        return {key: changed + gone, _ORDER + key: [{by: item[by]} for item in wanted]}


def _ordered(items: list[Any], order: Any, by: str | None) -> list[Any]:
    """Items in the order that the patch names; those that it does not name stay behind what stood before them."""
    if not isinstance(order, list) or by is None:
        return items
    named = [entry.get(by) if isinstance(entry, dict) else entry for entry in order]

    def key_of(item: Any) -> Any:
        return item.get(by) if isinstance(item, dict) and by else item

    ranked = iter(sorted((item for item in items if key_of(item) in named), key=lambda item: named.index(key_of(item))))
    return [next(ranked) if key_of(item) in named else item for item in items]
