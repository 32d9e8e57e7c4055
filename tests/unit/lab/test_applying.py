"""Manifests on their way into the lab: nothing stops a run, everything is reported."""

from __future__ import annotations

from typing import Any, Literal

from drills.lab.api.objects import Objects
from drills.lab.api.resources import CONFIGMAPS, NAMESPACES, by_kind
from drills.lab.api.store import Store
from drills.lab.api.types import Obj, namespace_of
from drills.lab.applying import apply_all
from drills.lab.settings import Manifest, Validation


class Server:
    """The API server without HTTP."""

    def __init__(self) -> None:
        self.store = Store()
        self.store.create(NAMESPACES, {"metadata": {"name": "default"}})

    def apply(self, obj: Obj, *, field_validation: Literal["Strict", "Warn", "Ignore"]) -> Any:
        resource = by_kind(obj["apiVersion"], obj["kind"])
        assert resource is not None
        return Objects(self.store).apply(resource, namespace_of(obj), obj, field_validation)


def config_map(name: str, **extra: object) -> Manifest:
    metadata = {"name": name, "namespace": "default"}
    return Manifest(f"{name}.yaml:1:1", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **extra})


def notes(manifests: list[Manifest], validation: Validation = "strict") -> tuple[Store, list[str]]:
    server = Server()
    return server.store, apply_all(server, manifests, validation)


def test_good_manifests_need_no_word() -> None:
    store, said = notes([config_map("a", data={"x": "1"})])
    assert said == []
    assert store.get(CONFIGMAPS, "default", "a")["data"] == {"x": "1"}


def test_an_unknown_field_skips_the_object_and_the_next_one_follows() -> None:
    store, said = notes([config_map("a", dta={}), config_map("b")])
    assert len(said) == 1
    assert said[0].startswith("a.yaml:1:1: ConfigMap default/a: skipped, ")
    assert 'unknown field "dta"' in said[0]
    assert store.find(CONFIGMAPS, "default", "a") is None
    assert store.find(CONFIGMAPS, "default", "b") is not None


def test_with_warn_the_field_is_pruned_and_named() -> None:
    store, said = notes([config_map("a", dta={})], "warn")
    assert 'unknown field "dta"' in said[0]
    assert "dta" not in store.get(CONFIGMAPS, "default", "a")


def test_what_the_lab_cannot_take_is_named() -> None:
    _, said = notes(
        [
            Manifest("x.yaml:1:1", {"groups": []}),
            Manifest("y.yaml:2:1", {"apiVersion": "v2", "kind": "Gadget", "metadata": {"name": "g"}}),
            Manifest(
                "z.yaml:3:1", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "no"}}
            ),
        ]
    )
    assert said[0] == "x.yaml:1:1: skipped, it has no apiVersion or kind"
    assert said[1] == "y.yaml:2:1: Gadget g: skipped, the lab does not serve Gadget of v2"
    assert said[2] == 'z.yaml:3:1: Secret no/s: skipped, namespaces "no" not found'
