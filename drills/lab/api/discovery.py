"""Discovery: how clients learn which kinds there are and what they are called, in the documents before aggregation."""

from __future__ import annotations

from drills.lab.api.paths import no_such_path
from drills.lab.api.resources import ALL, PODS, SERVICEACCOUNTS, SERVICES, Resource, groups
from drills.lab.api.types import Obj

VERSION: Obj = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0+drills.lab",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-11-22T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]

# Kinds that are asked and not stored: group, version -> plural, kind.
REVIEWS: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {
    ("authentication.k8s.io", "v1"): (("selfsubjectreviews", "SelfSubjectReview"), ("tokenreviews", "TokenReview")),
    ("authorization.k8s.io", "v1"): (
        ("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
        ("selfsubjectrulesreviews", "SelfSubjectRulesReview"),
        ("subjectaccessreviews", "SubjectAccessReview"),
    ),
}


def _all_groups() -> dict[str, list[str]]:
    found = {group: list(versions) for group, versions in groups().items()}
    for group, version in REVIEWS:
        found.setdefault(group, []).append(version)
    return found


def group_versions() -> list[tuple[str, str]]:
    """Every group and version that the lab serves."""
    return [(group, version) for group, versions in _all_groups().items() for version in versions]


def core_versions() -> Obj:
    """``/api``."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list() -> Obj:
    """``/apis``."""
    listed = [_group(name) for name in _all_groups() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def group(name: str) -> Obj:
    """``/apis/GROUP``. Raises ApiError 404."""
    if not name or name not in _all_groups():
        raise no_such_path()
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}


def _group(name: str) -> Obj:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in _all_groups()[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def resource_list(name: str, version: str) -> Obj:
    """``/api/v1`` and ``/apis/GROUP/VERSION``. Raises ApiError 404."""
    if (name, version) not in group_versions():
        raise no_such_path()
    served = [entry for r in ALL if (r.group, r.version) == (name, version) for entry in _entries(r)]
    for plural, kind in REVIEWS.get((name, version), ()):
        served.append({"name": plural, "singularName": kind.lower(), "namespaced": False, "kind": kind,
                       "verbs": ["create"]})  # fmt: skip
    api_version = f"{name}/{version}" if name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": served}


def _entries(r: Resource) -> list[Obj]:
    entry: Obj = {
        "name": r.plural,
        "singularName": r.singular,
        "namespaced": r.namespaced,
        "kind": r.kind,
        "verbs": _VERBS,
    }
    if r.short:
        entry["shortNames"] = list(r.short)
    if r.in_all:
        entry["categories"] = ["all"]
    elif r.group == "cilium.io":
        entry["categories"] = ["cilium"]
    return [entry, *_subresources(r)]


def _subresources(r: Resource) -> list[Obj]:
    found: list[Obj] = []

    def add(name: str, kind: str, verbs: list[str], **more: str) -> None:
        found.append({"name": f"{r.plural}/{name}", "singularName": "", "namespaced": r.namespaced, "kind": kind,
                      "verbs": verbs, **more})  # fmt: skip

    if r.has_status:
        add("status", r.kind, ["get", "patch", "update"])
    if r.has_scale:
        add("scale", "Scale", ["get", "patch", "update"], group="autoscaling", version="v1")
    if r is PODS:
        add("ephemeralcontainers", "Pod", ["get", "patch", "update"])
        add("log", "Pod", ["get"])
        add("exec", "PodExecOptions", ["create", "get"])
        add("proxy", "PodProxyOptions", ["create", "get"])
    if r is SERVICES:
        add("proxy", "ServiceProxyOptions", ["create", "get"])
    if r is SERVICEACCOUNTS:
        add("token", "TokenRequest", ["create"], group="authentication.k8s.io", version="v1")
    return found
