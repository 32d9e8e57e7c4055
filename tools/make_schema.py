#!/usr/bin/env python3
"""Derive drills/lab/api/builtin.json, the schema of Kubernetes' own kinds, from the official Python client's models.

The lab's API server validates, prunes and explains with it, and must not import the client (126 MB).
Run it after raising the ``kubernetes`` package: ``python tools/make_schema.py``.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import re
import sys
import types
import typing
from pathlib import Path

from kubernetes import client
from pydantic import BaseModel
from pydantic.fields import FieldInfo

OUT = Path(__file__).parent.parent / "drills/lab/api/builtin.json"

KINDS = [
    "V1Namespace", "V1Node", "V1Pod", "V1Service", "V1Secret", "V1ConfigMap", "V1ServiceAccount", "CoreV1Event",
    "V1Endpoints", "V1EndpointSlice", "V1Deployment", "V1ReplicaSet", "V1StatefulSet", "V1DaemonSet", "V1Job",
    "V1CronJob", "V1Lease", "V1Role", "V1RoleBinding", "V1ClusterRole", "V1ClusterRoleBinding", "V1Scale",
]  # fmt: skip

# resource.Quantity is a plain string in the client's models, though the API takes a number as well.
QUANTITIES = {
    ("v1.ResourceRequirements", "limits"), ("v1.ResourceRequirements", "requests"),
    ("v1.EmptyDirVolumeSource", "sizeLimit"), ("v1.ResourceFieldSelector", "divisor"),
    ("v1.NodeStatus", "capacity"), ("v1.NodeStatus", "allocatable"), ("v1.PodSpec", "overhead"),
    ("v1.ContainerStatus", "allocatedResources"), ("v1.VolumeResourceRequirements", "limits"),
    ("v1.VolumeResourceRequirements", "requests"),
}  # fmt: skip

SIMPLE = {str: "string", int: "integer", bool: "boolean", float: "number", datetime.datetime: "time", bytes: "bytes"}


def definition_name(model: type[BaseModel]) -> str:
    """``V1Container`` and ``CoreV1Event`` -> ``v1.Container``, ``v1.Event``: kubectl prints what follows the dot."""
    found = re.fullmatch(r"(?:[A-Z][a-z]+)?(V\d(?:alpha\d|beta\d)?)(.+)", model.__name__)
    if found is None:
        raise SystemExit(f"no version in the model name {model.__name__}")
    return f"{found[1].lower()}.{found[2]}"


def type_code(annotation: typing.Any) -> str:
    """A field's type in the compact notation that drills/lab/api/schema.py reads."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_code(args[0])
    if origin in (typing.Union, types.UnionType):
        return union_code({type_code(arg) for arg in args if arg is not type(None)})
    if origin is list:
        return "[]" + type_code(args[0])
    if origin is dict:
        return "any" if args[1] is typing.Any else "{}" + type_code(args[1])
    simple = "any" if annotation in (typing.Any, object) else SIMPLE.get(annotation)
    return simple or definition_name(annotation)


def union_code(codes: set[str]) -> str:
    """The notation for a union of types, None left out."""
    if codes == {"integer", "string"}:
        return "int-or-string"
    if codes == {"bytes", "string"}:
        return "bytes"
    if len(codes) != 1:
        raise SystemExit(f"a union that the notation lacks: {codes}")
    return codes.pop()


def models_in(annotation: typing.Any) -> list[type[BaseModel]]:
    """Models that an annotation refers to."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in typing.get_args(annotation) for model in models_in(arg)]


def field_entry(definition: str, name: str, field: FieldInfo) -> list[str]:
    """``[type]`` or ``[type, description]``."""
    code = type_code(field.annotation)
    if (definition, name) in QUANTITIES:
        code = code.replace("string", "quantity")
    text = " ".join((field.description or "").split())
    return [code, text] if text else [code]


def definition(model: type[BaseModel]) -> dict[str, typing.Any]:
    """One model in the compact notation."""
    name = definition_name(model)
    fields, required = {}, []
    for python_name, field in model.model_fields.items():
        json_name = field.serialization_alias or python_name
        fields[json_name] = field_entry(name, json_name, field)
        if field.is_required():
            required.append(json_name)
    entry: dict[str, typing.Any] = {"fields": dict(sorted(fields.items()))}
    text = " ".join((model.__doc__ or "").partition("Attributes:")[0].split())
    if text:
        entry["description"] = text
    if required:
        entry["required"] = sorted(required)
    return entry


def main() -> None:
    """Write the file: the kinds the lab serves and everything they refer to."""
    found: dict[str, type[BaseModel]] = {}
    queue = [getattr(client, kind) for kind in KINDS]
    while queue:
        model = queue.pop()
        name = definition_name(model)
        if found.setdefault(name, model) is not model:
            raise SystemExit(f"two models are called {name}: {model} and {found[name]}")
        wanted = [m for field in model.model_fields.values() for m in models_in(field.annotation)]
        queue += [m for m in wanted if definition_name(m) not in found]
    definitions = {name: definition(found[name]) for name in sorted(found)}
    document = {"source": f"kubernetes {importlib.metadata.version('kubernetes')} (PyPI)", "definitions": definitions}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace('},"v1.', '},\n"v1.')
    OUT.write_text(text + "\n")
    sys.stdout.write(f"{OUT}: {len(definitions)} definitions, {len(text) // 1024} KiB\n")


if __name__ == "__main__":
    main()
