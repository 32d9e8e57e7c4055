"""What a run calls the pods that it makes: the same words where they are planned and where they are made."""

from __future__ import annotations

from drills.playbook import ExistingPod, Source
from drills.playbook.model import From

RUN_SHOWN = 6  # characters of the run's name that a pod's name ends with


def key_of(source: From) -> str:
    """A name for a ``from``: that of the playbook's source, or one made of what stands there."""
    match source:
        case str():
            return source
        case ExistingPod():
            return source.name
        case Source():
            return "-".join([source.namespace, *source.labels.values()])[:40].strip("-").lower()


def drill_pod(key: str, run: str) -> str:
    """The name of a source's drill pod."""
    return f"drill-{key}-{run[-RUN_SHOWN:]}"


def capture_pod(node: str, run: str) -> str:
    """The name of a node's capture pod."""
    return f"drill-capture-{node}-{run[-RUN_SHOWN:]}"
