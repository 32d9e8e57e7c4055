"""The lab as a command sees it: up, down, status, logs. Everything here runs on the host."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drills.errors import InputError, WorldError
from drills.lab import doctor, kubeconfig, launcher, manifests, plan
from drills.lab.launcher import Progress, Started
from drills.lab.runtime.images import Images
from drills.lab.settings import (
    DEFAULT_TIME_LAPSE,
    ENVIRONMENT_IMAGES,
    LabSettings,
    Validation,
    checked_time_lapse,
)
from drills.lab.state import StateDir, lab_name


@dataclass(frozen=True, slots=True)
class LabRequest:
    """What a user asks for; None and empty leave it to the default, and to the lab that is up already."""

    manifests: Sequence[Path] = ()
    validation: Validation | None = None
    time_lapse: int | None = None
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabStatus:
    """A lab that is up: where everything is. URLs are on the host's loopback."""

    name: str
    pid: int  # of the outermost process
    kubeconfig: Path
    api: str
    prometheus: str
    alertmanager: str
    receiver: str
    agents: dict[str, str]  # metrics of each node's agent
    hubble: dict[str, str]  # metrics of each node's Hubble
    time_lapse: int
    validation: Validation
    started_at: str
    logs: Path
    notes: tuple[str, ...] = ()  # what was skipped or pruned of the manifests, what is not ready

    @classmethod
    def from_json(cls, text: str) -> LabStatus:
        data: dict[str, Any] = json.loads(text)
        for key in ("kubeconfig", "logs"):
            data[key] = Path(data[key])
        return cls(**(data | {"notes": tuple(data["notes"])}))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), default=str, indent=2)


def _silent(_: str) -> None:
    """Progress that nobody wants to hear of."""


def _nothing() -> None:
    """Nothing else is to be done while a lab starts."""


def up(request: LabRequest, *, environment: Mapping[str, str] = os.environ, progress: Progress = _silent) -> LabStatus:
    """A lab that outlives its starter; one that is up already will do if it is what was asked for.

    WorldError if it cannot start; InputError for wrong manifests, an unknown image, and a lab that is up but different.
    """
    existing = status(environment)
    if existing is not None:
        return _suitable(existing, request)
    started, found = _start(request, environment, progress, _nothing)
    started.detach()
    return found


@contextmanager
def held(
    request: LabRequest,
    *,
    environment: Mapping[str, str] = os.environ,
    progress: Progress = _silent,
    meanwhile: Callable[[], None] = _nothing,
) -> Iterator[LabStatus]:
    """The lab that is up, left up afterwards; or else a new one that ends with this block, or with this process.

    ``meanwhile`` is called once, while a new lab starts: what takes its time anyway should not be waited for twice.
    """
    existing = status(environment)
    if existing is not None:
        found = _suitable(existing, request)
        meanwhile()
        yield found
        return
    started, found = _start(request, environment, progress, meanwhile)
    try:
        yield found
    finally:
        launcher.end(started.pid)
        started.process.wait()
        started.channel.close()
        StateDir.of(found.name, environment).clean()


def status(environment: Mapping[str, str] = os.environ) -> LabStatus | None:
    """The lab that is up; None if there is none. WorldError while one is being started by somebody else."""
    state = _state(environment)
    if not state.alive():
        state.clean(keep_logs=True)
        return None
    try:
        return LabStatus.from_json(state.status.read_text())
    except FileNotFoundError:
        if not state.alive():
            return None
        raise WorldError(f"The lab {state.path.name!r} is just being started or taken down: try again.") from None
    except (ValueError, TypeError, KeyError):
        raise WorldError(f"{state.status} cannot be read: take the lab down with `drills lab down`.") from None


def down(environment: Mapping[str, str] = os.environ) -> bool:
    """Take the lab down, also one that hangs or is being started; False if there was none. WorldError if it stays."""
    state = _state(environment)
    owner = state.owner()
    was_up = state.alive()
    if was_up:
        if owner is None:
            raise WorldError(f"The lab {state.path.name!r} is just being started: try again.")
        launcher.end(owner)
        if state.alive():
            raise WorldError(f"The lab {state.path.name!r} (process {owner}) cannot be ended.")
    state.clean()
    return was_up


def logs(program: str | None = None, *, environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Lines of the lab's log, or of one of its programs' (``prometheus``, ``envoy-k8s-w1``, ...).

    Also those of a lab that failed to start. WorldError if there are none.
    """
    state = _state(environment)
    file = state.logs / f"{program}.log" if program else state.log
    if not file.exists():
        known = sorted(found.stem for found in state.logs.glob("*.log"))
        if not known:
            raise WorldError(f"The lab {state.path.name!r} has no log: it is not up.")
        raise InputError(f"There is no log of {program}; there are logs of {', '.join(known)}.")
    with file.open(errors="replace") as stream:
        yield from stream


def _state(environment: Mapping[str, str]) -> StateDir:
    return StateDir.of(lab_name(environment), environment)


def _suitable(found: LabStatus, request: LabRequest) -> LabStatus:
    if request.manifests:
        raise InputError(
            f"The lab {found.name!r} is up, and --manifests only counts when it starts: `drills lab down` first, "
            "or apply them with kubectl."
        )
    if request.time_lapse not in (None, found.time_lapse):
        raise InputError(
            f"The lab {found.name!r} is up with a time-lapse of {found.time_lapse}, not {request.time_lapse}: "
            "`drills lab down` first."
        )
    if request.validation not in (None, found.validation):
        raise InputError(f"The lab {found.name!r} is up with --validation {found.validation}: `drills lab down` first.")
    return found


def _start(
    request: LabRequest, environment: Mapping[str, str], progress: Progress, meanwhile: Callable[[], None]
) -> tuple[Started, LabStatus]:
    state = _state(environment)
    settings = LabSettings(
        name=state.path.name,
        time_lapse=checked_time_lapse(DEFAULT_TIME_LAPSE if request.time_lapse is None else request.time_lapse),
        validation=request.validation or "strict",
        manifests=manifests.read(request.manifests) if request.manifests else manifests.shipped(),
        ports=dict(request.ports),
        token=secrets.token_urlsafe(24),
        images=_images(environment),
    )
    doctor.require()
    state.clean()
    lock = state.lock()
    if lock is None:
        raise WorldError(f"The lab {settings.name!r} is just being started by another process.")
    try:
        started = launcher.start(settings, state, lock, progress, meanwhile)
    except BaseException:
        state.clean(keep_logs=True)
        raise
    found = _describe(settings, state, started)
    state.write(state.kubeconfig, kubeconfig.text(found.name, found.api, started.ready["authority"], settings.token))
    state.write(state.status, found.to_json())
    return started, found


def _images(environment: Mapping[str, str]) -> str:
    """The file that DRILLS_IMAGES names, read and checked here, where the user sees what is wrong with it."""
    if not environment.get(ENVIRONMENT_IMAGES):
        return ""
    path = Path(environment[ENVIRONMENT_IMAGES])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The image table {path} ({ENVIRONMENT_IMAGES}) cannot be read: {error}") from None
    Images.parse(text, path)
    return text


def _describe(settings: LabSettings, state: StateDir, started: Started) -> LabStatus:
    urls = {name: f"http://127.0.0.1:{port}" for name, port in started.ports.items()}
    return LabStatus(
        name=settings.name,
        pid=started.pid,
        kubeconfig=state.kubeconfig,
        api=f"https://127.0.0.1:{started.ports['api']}",
        prometheus=urls["prometheus"],
        alertmanager=urls["alertmanager"],
        receiver=urls["receiver"],
        agents={node: urls[f"agent-{node}"] for node in plan.NODES},
        hubble={node: urls[f"hubble-{node}"] for node in plan.NODES},
        time_lapse=settings.time_lapse,
        validation=settings.validation,
        started_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        logs=state.logs,
        notes=tuple(started.ready.get("notes", ())),
    )
