"""What a lab is started with: decided on the host, sent to the supervisor as a line of JSON, never changed later."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from drills.errors import InputError

Validation = Literal["strict", "warn"]

DEFAULT_TIME_LAPSE = 15
ENVIRONMENT_IMAGES = "DRILLS_IMAGES"  # names a file that adds to the image table


@dataclass(frozen=True, slots=True)
class Manifest:
    """An object to apply, read on the host: inside the lab's mount namespace its file may not exist."""

    place: str  # file:line:column, for messages
    object: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LabSettings:
    """Everything that distinguishes one lab from another.

    ``time_lapse`` is K: the lab's clock runs K times faster than a playbook's. ``validation`` is what
    happens to unknown fields of a manifest: ``strict`` skips the object, ``warn`` prunes the field.
    ``ports`` are the ports on the host's loopback by service name; 0 or absent leaves the choice to the kernel.
    """

    name: str = "default"
    time_lapse: int = DEFAULT_TIME_LAPSE
    validation: Validation = "strict"
    manifests: tuple[Manifest, ...] = ()
    ports: dict[str, int] = field(default_factory=dict)
    token: str = ""
    images: str = ""  # a user's additions to the image table, as YAML

    def seconds(self, real: float) -> float:
        """The wall-clock length in the lab of ``real`` seconds of playbook time."""
        return real / self.time_lapse

    def to_json(self) -> str:
        """One line, without line breaks."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LabSettings:
        """The inverse of `to_json`."""
        data = json.loads(text)
        data["manifests"] = tuple(Manifest(**manifest) for manifest in data["manifests"])
        return cls(**data)


def checked_time_lapse(value: int) -> int:
    """K as a user may ask for it, or InputError."""
    if not 1 <= value <= 60:
        raise InputError(f"The time-lapse must be between 1 (real time) and 60, not {value}.")
    return value
