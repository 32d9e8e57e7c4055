"""The runner in a cluster: who it is, the playbook that it reads, and the CronJob that starts it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from drills.deploy.cron import check_timezone, longest_gap
from drills.deploy.settings import PART_OF, Obj, Settings, labels_of, obj, title
from drills.engine import actors, capturing, fault, recovery
from drills.engine.feasible import everything_tried
from drills.engine.naming import key_of
from drills.errors import InputError
from drills.kube.lease import NAMESPACE
from drills.kube.pods import IMAGE_VARIABLE, RESTRICTED_CONTAINER, restricted_pod
from drills.playbook import Drill, FloodInjection, Playbook, WireguardInjection

PLAYBOOK: Final = "playbook.yaml"
FOLDER, RESULTS, SCRATCH = "/playbook", "/results", "/tmp"  # noqa: S108 - volumes of the pod's own
BASELINE_SECONDS: Final = 1800.0  # at most until all alerts are at rest: a range, `for` and keep_firing_for
NEVER: Final = "0 0 1 1 *"  # the schedule of a CronJob that is suspended: it must have one
START_SECONDS: Final = 600  # a run that could not begin by then waits for its next turn
_PSS: Final = "pod-security.kubernetes.io"


def namespaces(playbooks: Iterable[Playbook], settings: Settings) -> list[Obj]:
    """That of the runner, and that of the Lease and the undo records, where capture pods live too."""
    captured = any(isinstance(drill.injection, WireguardInjection) for one in playbooks for drill in one.drills)
    return [
        _namespace(name, privileged=captured and name == NAMESPACE)
        for name in dict.fromkeys((NAMESPACE, settings.namespace))
    ]


def _namespace(name: str, *, privileged: bool) -> Obj:
    level = "privileged" if privileged else "restricted"
    modes = {f"{_PSS}/enforce": level, f"{_PSS}/warn": "restricted", f"{_PSS}/audit": "restricted"}
    why = (
        "A wireguard drill proves by captures that nothing leaves a node in clear: its capture pods need the host's "
        "network and NET_RAW, which no other Pod Security level admits. Everything else here is restricted."
    )
    return obj("v1", "Namespace", name, None, {**PART_OF, **modes}, why=why if privileged else None)


def service_account(playbook: str, settings: Settings) -> Obj:
    """Its token is mounted by the runner's pod alone."""
    name = settings.account(playbook)
    account = obj("v1", "ServiceAccount", name, settings.namespace, labels_of(playbook))
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
    job = {"activeDeadlineSeconds": deadline(playbook), "backoffLimit": 0, "template": template}
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
        "terminationGracePeriodSeconds": grace(playbook),
        "securityContext": restricted_pod(),
        "containers": [_container(settings)],
        "volumes": [
            {"name": "playbook", "configMap": {"name": title(playbook.name)}},
            {"name": "results", "emptyDir": {"sizeLimit": "256Mi"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }


def _container(settings: Settings) -> Obj:
    """``--recover``: the next run finishes what a killed one left."""
    watched = ["--prometheus", settings.prometheus]
    if settings.alertmanager:
        watched += ["--alertmanager", settings.alertmanager]
    if settings.pushgateway:
        watched += ["--publish", f"pushgateway={settings.pushgateway}"]
    return {
        "name": "runner",
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["drills"],
        "args": ["run", f"{FOLDER}/{PLAYBOOK}", *watched, "--recover", "--out", RESULTS],
        "env": [
            {"name": IMAGE_VARIABLE, "value": settings.image},
            {"name": "HOME", "value": SCRATCH},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": copy.deepcopy(RESTRICTED_CONTAINER),
        "volumeMounts": [
            {"name": "playbook", "mountPath": FOLDER, "readOnly": True},
            {"name": "results", "mountPath": RESULTS},
            {"name": "scratch", "mountPath": SCRATCH},
        ],
    }


def deadline(playbook: Playbook) -> int:
    """Seconds after which the Job is ended: longer than any run that goes well, one drill after another."""
    return math.ceil(sum(_longest(drill, playbook.guards.max_duration) for drill in playbook.drills))


def _longest(drill: Drill, limit: float) -> float:
    within = max((alert.within for alert in drill.expect.alerts), default=0.0)
    resolved = max((alert.resolves_within or 0.0 for alert in drill.expect.alerts), default=0.0)
    beside = fault.LONGEST_BESIDE if isinstance(drill.injection, WireguardInjection) else 0.0
    rest = BASELINE_SECONDS if drill.silenced else 0.0  # until its silences can be lifted
    return actors.READY_SECONDS + BASELINE_SECONDS + limit + within + resolved + rest + beside


def grace(playbook: Playbook) -> int:
    """Seconds that a run may take to put everything back once it is told to end: the longest of its drills."""
    return 30 + math.ceil(max(_undo_seconds(drill) for drill in playbook.drills))


def _undo_seconds(drill: Drill) -> float:
    pods = {key_of(one.source) for one in everything_tried(drill) if not isinstance(one, WireguardInjection)}
    seconds = actors.GONE_SECONDS * len(pods) + sum(recovery.PAUSES)
    if isinstance(drill.injection, WireguardInjection):  # its captures go together with the repair's last second
        seconds += fault.RESTORED_SECONDS + recovery.GONE_SECONDS + 2 * capturing.GONE_SECONDS
    return seconds
