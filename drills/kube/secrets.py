"""Secrets that the tool itself writes: small, of its own type, never changed once they are there."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from drills.kube.api import Api, Obj, core


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A Secret with its data decoded; its text shows no value."""

    namespace: str
    name: str
    data: Mapping[str, bytes]

    def __repr__(self) -> str:
        return f"Secret({self.namespace}/{self.name})"


def create_secret(api: Api, secret: Secret, *, kind: str, labels: Mapping[str, str]) -> None:
    """Returns once the API has stored it. KubeError 409 if there is one of that name, 404 without the namespace."""
    body: Obj = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret.name, "namespace": secret.namespace, "labels": dict(labels)},
        "type": kind,
        "immutable": True,
        "data": {key: base64.b64encode(value).decode() for key, value in secret.data.items()},
    }
    api.create(f"write Secret {secret.namespace}/{secret.name}", core("secrets", secret.namespace), body)


def secrets(api: Api, namespace: str, labels: Mapping[str, str]) -> list[Secret]:
    """Every Secret of a namespace with these labels; the list of a namespace that is not there is empty, never 404."""
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    path = core("secrets", namespace)
    found = api.call(f"list Secrets in {namespace}", "GET", path, query={"labelSelector": selector})
    return [
        Secret(namespace, str(item["metadata"]["name"]), _decoded(item.get("data") or {}))
        for item in found.get("items") or ()
    ]


def delete_secret(api: Api, namespace: str, name: str) -> None:
    """Gone, or never there: both will do."""
    api.find(f"delete Secret {namespace}/{name}", "DELETE", core("secrets", namespace, name))


def _decoded(data: Mapping[str, str]) -> dict[str, bytes]:
    found = {}
    for key, value in data.items():
        try:
            found[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            found[key] = b""  # nobody can store that through an API; whoever needs the key says that it is unreadable
    return found
