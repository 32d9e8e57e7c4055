"""A pod's volumes: files that the kubelet writes into the pod's own directory, and where they are mounted."""

from __future__ import annotations

from pathlib import Path

from drills.lab.api.resources import CONFIGMAPS, SECRETS, Resource
from drills.lab.api.types import Obj, namespace_of
from drills.lab.runtime.environment import ConfigError, Find, data_of, field_value

INSIDE = "/run/drills"  # where the pod sees its directory (pause.py)

Files = dict[str, bytes]


def files_of(volume: Obj, pod: Obj, find: Find) -> Files | None:
    """What a volume holds by relative path; None for one that begins empty. Raises ConfigError."""
    namespace = namespace_of(pod) or "default"
    if "secret" in volume:
        source = volume["secret"]
        return _selected(SECRETS, source.get("secretName") or "", source, namespace, find)
    if "configMap" in volume:
        source = volume["configMap"]
        return _selected(CONFIGMAPS, source.get("name") or "", source, namespace, find)
    if "downwardAPI" in volume:
        return _downward(volume["downwardAPI"], pod)
    if "projected" in volume:
        found: Files = {}
        for source in volume["projected"].get("sources") or []:
            if "serviceAccountToken" not in source:
                found.update(files_of(_as_volume(source), pod, find) or {})
        return found
    if "emptyDir" in volume or "persistentVolumeClaim" in volume or "ephemeral" in volume:
        return None
    kinds = ", ".join(sorted(set(volume) - {"name"})) or "nothing"
    raise ConfigError(f'volume "{volume.get("name")}": the lab has no volumes of kind {kinds}')


def mounts_of(pod: Obj) -> list[tuple[str, str]]:
    """Pairs of source (as the pod sees its directory) and mount path, outer paths first."""
    spec = pod.get("spec") or {}
    found: dict[str, str] = {}
    for container in (*(spec.get("initContainers") or []), *(spec.get("containers") or [])):
        for mount in container.get("volumeMounts") or []:
            below = mount.get("subPath") or ""
            source = f"{INSIDE}/volumes/{mount['name']}" + (f"/{below.strip('/')}" if below else "")
            found[mount["mountPath"].rstrip("/") or "/"] = source
    return [(found[path], path) for path in sorted(found, key=lambda path: path.count("/"))]


def shares_of(pod: Obj, claims: Path) -> list[tuple[str, str]]:
    """Volumes that outlive their pod: pairs of a directory below ``claims`` and the place where the pod sees it."""
    namespace = namespace_of(pod) or "default"
    volumes = (pod.get("spec") or {}).get("volumes") or []
    named = [(volume["name"], (volume.get("persistentVolumeClaim") or {}).get("claimName")) for volume in volumes]
    return [(str(claims / namespace / claim), f"{INSIDE}/volumes/{name}") for name, claim in named if claim]


def write(pod: Obj, directory: Path, claims: Path, find: Find) -> None:
    """Write all volumes of a pod below ``directory``, and make the directories of its claims below ``claims``.

    Raises ConfigError if something that a volume shows is missing.
    """
    volumes = (pod.get("spec") or {}).get("volumes") or []
    rendered = {volume["name"]: files_of(volume, pod, find) for volume in volumes}
    for name, files in rendered.items():
        (directory / name).mkdir(parents=True, exist_ok=True)
        for path, content in (files or {}).items():
            target = directory / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    for source, _ in shares_of(pod, claims):
        Path(source).mkdir(parents=True, exist_ok=True)
    for source, _ in mounts_of(pod):
        below = directory / Path(source).relative_to(f"{INSIDE}/volumes")
        if not below.exists():
            below.mkdir(parents=True)


def _as_volume(source: Obj) -> Obj:
    if "secret" in source:
        return {"secret": {**source["secret"], "secretName": source["secret"].get("name")}}
    return source


def _selected(resource: Resource, name: str, source: Obj, namespace: str, find: Find) -> Files:
    kind = resource.kind.lower()
    data = data_of(resource, namespace, name, find)
    if data is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'{kind} "{name}" not found')
    if not source.get("items"):
        return data
    missing = [item["key"] for item in source["items"] if item["key"] not in data]
    if missing and not source.get("optional"):
        raise ConfigError(f"references non-existent {kind} key: {', '.join(missing)}")
    return {item["path"]: data[item["key"]] for item in source["items"] if item["key"] in data}


def _downward(source: Obj, pod: Obj) -> Files:
    items = source.get("items") or []
    paths = {item["path"]: (item.get("fieldRef") or {}).get("fieldPath") or "" for item in items}
    return {path: field_value(pod, field).encode() for path, field in paths.items()}
