"""A container's environment variables from its spec: values, Secrets, ConfigMaps and the pod's own fields."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence

from drills.lab.api.resources import CONFIGMAPS, SECRETS, Resource
from drills.lab.api.types import Obj, annotations_of, labels_of, name_of, namespace_of, uid_of

Find = Callable[[Resource, str | None, str], Obj | None]

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


class ConfigError(Exception):
    """A container cannot be configured yet: what it refers to is missing. The text is what the kubelet reports."""


def environment(pod: Obj, container: Obj, find: Find) -> dict[str, str]:
    """The variables that a container's spec asks for. Raises ConfigError.

    Later entries may refer to earlier ones by ``$(NAME)``, and ``env`` wins over ``envFrom``, as in Kubernetes.
    """
    namespace = namespace_of(pod) or "default"
    found: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        prefix = source.get("prefix") or ""
        found.update({prefix + key: value for key, value in _all_keys(source, namespace, find).items()})
    for entry in container.get("env") or []:
        value = _value(entry, pod, namespace, find, found)
        if value is not None:
            found[entry["name"]] = value
    return found


def expand(text: str, variables: Mapping[str, str]) -> str:
    """``$(NAME)`` replaced by the variable's value; unknown names stay, ``$$`` is a dollar sign."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else variables.get(name, match.group(0))

    return _REFERENCE.sub(replace, text)


def expand_all(texts: Sequence[str] | None, variables: Mapping[str, str]) -> list[str]:
    """`expand` for a command or its arguments."""
    return [expand(str(text), variables) for text in texts or []]


def field_value(pod: Obj, path: str) -> str:
    """A field of the pod by the downward API's path. Raises ConfigError for a path that it does not know."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    known: dict[str, object] = {
        "metadata.name": name_of(pod),
        "metadata.namespace": namespace_of(pod),
        "metadata.uid": uid_of(pod),
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"),
        "status.hostIP": status.get("hostIP"),
        "status.hostIPs": status.get("hostIP"),
        "status.podIP": status.get("podIP"),
        "status.podIPs": status.get("podIP"),
        "metadata.labels": "\n".join(f'{key}="{value}"' for key, value in sorted(labels_of(pod).items())),
        "metadata.annotations": "\n".join(f'{key}="{value}"' for key, value in sorted(annotations_of(pod).items())),
    }
    if path in known:
        return str(known[path] or "")
    match = _SUBSCRIPT.fullmatch(path)
    if match is None:
        raise ConfigError(f'field path "{path}" is not supported')
    values = labels_of(pod) if match.group(1) == "labels" else annotations_of(pod)
    return values.get(match.group(2), "")


def data_of(resource: Resource, namespace: str, name: str, find: Find) -> dict[str, bytes] | None:
    """The contents of a Secret or ConfigMap by key; None if there is no such object."""
    obj = find(resource, namespace, name)
    if obj is None:
        return None
    data = obj.get("data") or {}
    if resource == SECRETS:
        return {key: _decoded(value) for key, value in data.items()}
    binary = {key: _decoded(value) for key, value in (obj.get("binaryData") or {}).items()}
    return {**{key: str(value).encode() for key, value in data.items()}, **binary}


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return value.encode()


def _value(entry: Obj, pod: Obj, namespace: str, find: Find, earlier: Mapping[str, str]) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(str(entry.get("value") or ""), earlier)
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"].get("fieldPath") or "")
    if "secretKeyRef" in source:
        return _key(SECRETS, source["secretKeyRef"], namespace, find)
    if "configMapKeyRef" in source:
        return _key(CONFIGMAPS, source["configMapKeyRef"], namespace, find)
    raise ConfigError(f"environment variable {entry['name']}: the lab does not know {', '.join(source)}")


def _key(resource: Resource, reference: Obj, namespace: str, find: Find) -> str | None:
    name, key = reference.get("name") or "", reference.get("key") or ""
    data = data_of(resource, namespace, name, find)
    if data is not None and key in data:
        return data[key].decode(errors="replace")
    if reference.get("optional"):
        return None
    if data is None:
        raise ConfigError(f'{resource.kind.lower()} "{name}" not found')
    raise ConfigError(f"couldn't find key {key} in {resource.kind} {namespace}/{name}")


def _all_keys(source: Obj, namespace: str, find: Find) -> dict[str, str]:
    resource, reference = (SECRETS, source["secretRef"]) if "secretRef" in source else (CONFIGMAPS, None)
    reference = reference or source.get("configMapRef") or {}
    data = data_of(resource, namespace, reference.get("name") or "", find)
    if data is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{resource.kind.lower()} "{reference.get("name")}" not found')
    return {key: value.decode(errors="replace") for key, value in data.items()}
