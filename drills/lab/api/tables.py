"""metav1.Table: rows that the server makes for ``kubectl get``, once and while watching."""

from __future__ import annotations

from collections.abc import Iterable

from drills.lab.api.columns import AGE, COLUMNS, Column, now
from drills.lab.api.resources import Resource
from drills.lab.api.types import Obj, name_of

_NAME = Column("Name", lambda obj, _: name_of(obj))
META_VERSION = "meta.k8s.io/v1"


def _columns(r: Resource) -> tuple[Column, ...]:
    rest = COLUMNS.get(r, (AGE,))
    if any(column.name == "Last Seen" for column in rest):
        return (*rest, _NAME._replace(wide=True))
    return (_NAME, *rest)


def table(r: Resource, objs: Iterable[Obj], *, revision: str, include: str = "Metadata", heading: bool = True) -> Obj:
    """Objects as a Table. ``include`` is the request's includeObject: None, Metadata or Object."""
    moment, columns = now(), _columns(r)
    rows = [{"cells": [column.cell(obj, moment) for column in columns], **_carried(obj, include)} for obj in objs]
    return {
        "kind": "Table",
        "apiVersion": META_VERSION,
        "metadata": {"resourceVersion": revision},
        "columnDefinitions": [_definition(column) for column in columns] if heading else None,
        "rows": rows,
    }


def _carried(obj: Obj, include: str) -> Obj:
    if include == "None":
        return {}
    return {"object": obj if include == "Object" else metadata_only(obj)}


def metadata_only(obj: Obj) -> Obj:
    """The PartialObjectMetadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": META_VERSION, "metadata": obj["metadata"]}


def _definition(column: Column) -> Obj:
    return {
        "name": column.name,
        "type": column.type,
        "format": "name" if column is _NAME else "",
        "description": "",
        "priority": int(column.wide),
    }
