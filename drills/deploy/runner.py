"""The runner in a cluster: who it is, the playbook that it reads, and the CronJob that starts it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from drills.deploy.cron import check_timezone, longest_gap
from drills.deploy.settings import METRICS, PART_OF, Obj, Settings, labels_of, obj, title
from drills.engine import actors, capturing, drill, fault, load, recovery
from drills.engine.naming import flood_roles
from drills.engine.publications import TOKEN_FILE, Where, host_and_port
from drills.engine.touched import acting
from drills.errors import InputError
from drills.kube.lease import NAMESPACE
from drills.kube.pods import IMAGE_VARIABLE, RESTRICTED_CONTAINER, restricted_pod
from drills.playbook import Drill, FloodInjection, Playbook, WireguardInjection

PLAYBOOK: Final = "playbook.yaml"
FOLDER, RESULTS, SCRATCH = "/playbook", "/results", "/tmp"  # noqa: S108 - volumes of the pod's own
BASELINE_SECONDS: Final = 1800.0  # at most until all alerts are at rest: a range, `for` and keep_firing_for
NEVER: Final = "0 0 1 1 *"  # the schedule of a CronJob that is suspended: it must have one
REPORT_SECONDS: Final = 30.0  # to end the probes, to judge, to write the reports
START_SECONDS: Final = 600  # a run that could not begin by then waits for its next turn
_PSS: Final = "pod-security.kubernetes.io"


def namespaces(playbooks: Iterable[Playbook], settings: Settings) -> list[Obj]:
    """That of the runner, and that of the Lease and the undo records, where capture pods live too."""
    captured = any(drill.captures for one in playbooks for drill in one.drills)
    return [
        _namespace(name, privileged=captured and name == NAMESPACE)
        for name in dict.fromkeys((NAMESPACE, settings.namespace))
    ]


def _namespace(name: str, *, privileged: bool) -> Obj:
    level = "privileged" if privileged else "restricted"
    modes = {f"{_PSS}/enforce": level, f"{_PSS}/warn": "restricted", f"{_PSS}/audit": "restricted"}
    why = (
        "The playbook allows captures (guards.allow), which prove that nothing leaves a node in clear: their pods need "
        "the host's network and NET_RAW, which no other Pod Security level admits. Everything else here is restricted."
    )
    return obj("v1", "Namespace", name, None, {**PART_OF, **modes}, why=why if privileged else None)


def service_account(settings: Settings, playbook: str | None = None) -> Obj:
    """Of a playbook, or the one that all of them have. Its token is mounted by the runner's pod alone."""
    labels = dict(PART_OF) if playbook is None else labels_of(playbook)
    name = settings.account(playbook or "")
    account = obj("v1", "ServiceAccount", name, settings.namespace, labels)
    return account | {"automountServiceAccountToken": False}


def config_map(playbook: Playbook, path: Path, settings: Settings) -> Obj:
    """The playbook as it was written, and the locustfiles that it names."""
    data = {PLAYBOOK: path.read_text(encoding="utf-8")}
    for file in _locustfiles(playbook, path):
        data[file.name] = _read(file)
    return obj("v1", "ConfigMap", title(playbook.name), settings.namespace, labels_of(playbook.name), data=data)


def _locustfiles(playbook: Playbook, path: Path) -> list[Path]:
    found = [drill.injection.locustfile for drill in playbook.drills if isinstance(drill.injection, FloodInjection)]
    named = [Path(name) for name in dict.fromkeys(found) if name is not None]
    for file in named:
        if file.resolve().parent != path.resolve().parent:
            raise InputError(f"The locustfile {file} must stand beside the playbook to go into a ConfigMap with it.")
    return named


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The locustfile {path} cannot be read: {error}") from None


def cron_job(playbook: Playbook, schedule: str | None, settings: Settings) -> Obj:
    """One run at a time; suspended where no schedule is given (``kubectl create job --from=cronjob/...`` starts one).

    InputError for a schedule or a time zone that there is not.
    """
    check_timezone(settings.timezone)
    if schedule is not None:
        longest_gap(schedule)
    labels = labels_of(playbook.name)
    template = {"metadata": {"labels": labels}, "spec": _pod(playbook, settings)}
    job = {"activeDeadlineSeconds": deadline(playbook, settings.published), "backoffLimit": 0, "template": template}
    spec = {
        "schedule": schedule or NEVER,
        "timeZone": settings.timezone,
        "suspend": schedule is None,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": START_SECONDS,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"metadata": {"labels": labels}, "spec": job},
    }
    return obj("batch/v1", "CronJob", title(playbook.name), settings.namespace, labels, spec=spec)


def _pod(playbook: Playbook, settings: Settings) -> Obj:
    return {
        "serviceAccountName": settings.account(playbook.name),
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace(playbook, settings.published),
        "securityContext": restricted_pod(),
        "containers": [_container(settings)],
        "volumes": [
            {"name": "playbook", "configMap": {"name": title(playbook.name)}},
            {"name": "results", "emptyDir": {"sizeLimit": "256Mi"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}},
            *({"name": one.name, "secret": {"secretName": one.file.secret}} for one in settings.mounts),
        ],
    }


def _arguments(settings: Settings) -> list[str]:
    """``--recover``: the next run finishes what a killed one left."""
    found = ["run", f"{FOLDER}/{PLAYBOOK}", "--prometheus", settings.prometheus]
    if settings.alertmanager:
        found += ["--alertmanager", settings.alertmanager]
    paths = {one.name: one.path for one in settings.mounts}
    for name in ("prometheus", "alertmanager"):
        found += [f"--{name}-http-config", paths[name]] if name in paths else []
    found += [word for one in settings.published for word in ("--publish", str(one))]
    return [*found, "--recover", "--out", RESULTS]


def _environment(settings: Settings) -> list[Obj]:
    tokens = [{"name": TOKEN_FILE, "value": one.path} for one in settings.mounts if one.name == "grafana"]
    return [{"name": IMAGE_VARIABLE, "value": settings.image}, {"name": "HOME", "value": SCRATCH}, *tokens]


def _ports(settings: Settings) -> Obj:
    if settings.scraped is None:
        return {}
    _, port = host_and_port(settings.scraped.value)
    return {"ports": [{"name": METRICS, "containerPort": port, "protocol": "TCP"}]}


def _container(settings: Settings) -> Obj:
    return {
        "name": "runner",
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["drills"],
        "args": _arguments(settings),
        "env": _environment(settings),
        **_ports(settings),
        "resources": {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": copy.deepcopy(RESTRICTED_CONTAINER),
        "volumeMounts": [
            {"name": "playbook", "mountPath": FOLDER, "readOnly": True},
            {"name": "results", "mountPath": RESULTS},
            {"name": "scratch", "mountPath": SCRATCH},
            *({"name": one.name, "mountPath": one.folder, "readOnly": True} for one in settings.mounts),
        ],
    }


def deadline(playbook: Playbook, publish: Sequence[Where] = ()) -> int:
    """Seconds after which the Job is ended: longer than any run that goes well, one drill after another."""
    told = sum(one.seconds for one in publish)
    return math.ceil(sum(_longest(one, playbook.guards.max_duration) for one in playbook.drills) + told)


def _longest(one: Drill, limit: float) -> float:
    within = max((alert.within for alert in one.expect.alerts), default=0.0)
    resolved = max((alert.resolves_within or 0.0 for alert in one.expect.alerts), default=0.0)
    beside = fault.LONGEST_BESIDE if isinstance(one.injection, WireguardInjection) else 0.0
    rest = BASELINE_SECONDS if one.silenced else 0.0  # until its silences can be lifted
    return actors.READY_SECONDS + BASELINE_SECONDS + limit + within + resolved + rest + beside


def grace(playbook: Playbook, publish: Sequence[Where] = ()) -> int:
    """Seconds that a run may take once it is told to end: to put everything back (the longest of its drills, for they
    run side by side), then to read what a moment gives of the proof, and to report and ``publish``.
    """
    undone = max(_undo_seconds(one) for one in playbook.drills)
    told = sum(one.seconds_when_stopped for one in publish)
    return math.ceil(REPORT_SECONDS + undone + drill.PROOF_SECONDS + told)


def _undo_seconds(one: Drill) -> float:
    """A drill's pods go one after another, and each may take its time."""
    seconds = actors.GONE_SECONDS * len(acting(one)) + sum(recovery.PAUSES)
    if isinstance(one.injection, FloodInjection):
        seconds += load.CLOSE_SECONDS * len(flood_roles(one.injection))
    if isinstance(one.injection, WireguardInjection):  # its captures go together with the repair's last second
        seconds += fault.RESTORED_SECONDS + recovery.GONE_SECONDS
        seconds += 2 * capturing.GONE_SECONDS if one.captures else 0.0
    return seconds
