"""What a run calls the pods that it makes: the same words where they are planned and where they are made."""

from __future__ import annotations

import re

from drills.playbook import ExistingPod, FloodInjection, Playbook, Source
from drills.playbook.model import From

RUN_SHOWN = 6  # characters of the run's name that a pod's name ends with


def key_of(source: From, role: str = "") -> str:
    """A name for a ``from``: that of the playbook's source, or one made of what stands there; and its role."""
    return _name(source) + (f"-{role}" if role else "")


def _name(source: From) -> str:
    match source:
        case str():
            return source
        case ExistingPod():
            return source.name
        case Source():
            return "-".join([source.namespace, *source.labels.values()])[:40].strip("-").lower()


def flood_roles(flood: FloodInjection) -> list[str]:
    """The roles of the pods in which Locust runs, all of the flood's source."""
    return ["master", *(f"worker{number}" for number in range(1, flood.workers + 1))]


def drill_pod(key: str, run: str, drill: str, playbook: Playbook) -> str:
    """The name of a source's drill pod, which no other run and no other drill of this one gives to a pod."""
    number = next((number for number, one in enumerate(playbook.drills, 1) if one.name == drill), 0)
    return f"drill-{key}-{run[-RUN_SHOWN:]}-{number}"


def ephemeral_container(key: str, run: str, drill: str, playbook: Playbook) -> str:
    """The name of the container that a source gets in a pod that is there: a DNS label, unlike a pod's own name."""
    number = next((number for number, one in enumerate(playbook.drills, 1) if one.name == drill), 0)
    return f"drill-{re.sub('[^a-z0-9-]', '-', key.lower())[:40]}-{run[-RUN_SHOWN:]}-{number}"


def capture_pod(node: str, run: str) -> str:
    """The name of a node's capture pod."""
    return f"drill-capture-{node}-{run[-RUN_SHOWN:]}"
