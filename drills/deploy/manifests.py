"""All that a playbook needs in a cluster, in the order in which it is applied: one stream, or a kustomize base."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from drills.deploy.accepted import check, check_name
from drills.deploy.alerts import pod_monitor, prometheus_rule
from drills.deploy.network import runner_policy
from drills.deploy.roles import roles
from drills.deploy.runner import config_map, cron_job, namespaces, service_account
from drills.deploy.settings import Obj, Settings
from drills.engine import preflight
from drills.engine.rights import needed
from drills.engine.run import check_alone
from drills.errors import InputError
from drills.playbook import Playbook

KUSTOMIZATION: Final = "kustomization.yaml"
NAMESPACES: Final = "namespaces.yaml"
ACCOUNT: Final = "account.yaml"
SHARED: Final = "drills-runner"  # the account of several playbooks


@dataclass(frozen=True, slots=True)
class Written:
    """A playbook with the file that it stands in, and when it is to run; None: only when somebody asks."""

    path: Path
    playbook: Playbook
    schedule: str | None = None


def of_playbook(one: Written, settings: Settings) -> list[Obj]:
    """Everything but the namespaces, and an account that it shares. InputError for a schedule that there is not, or
    silences without an Alertmanager.
    """
    name, alertmanager = one.playbook.name, settings.alertmanager or None
    for drill in one.playbook.drills:
        preflight.check_silence(drill, alertmanager)
    rights = needed(one.playbook, addresses=settings.watched, alertmanager=alertmanager, publish=settings.published)
    return [
        *([] if settings.service_account else [service_account(settings, name)]),
        *roles(name, rights, settings),
        config_map(one.playbook, one.path, settings),
        runner_policy(name, settings),
        cron_job(one.playbook, one.schedule, settings),
        prometheus_rule(name, one.schedule, settings),
        *([] if settings.scraped is None else [pod_monitor(name, settings)]),
    ]


def stream(playbooks: Sequence[Written], settings: Settings) -> str:
    """All of it as YAML documents, for ``kubectl apply -f -``."""
    _check(playbooks, settings)
    settings = _shared(playbooks, settings)
    found = namespaces((one.playbook for one in playbooks), settings)
    own = (obj for one in playbooks for obj in of_playbook(one, settings))
    return text([*found, *_accounts(settings), *own])


def base(playbooks: Sequence[Written], settings: Settings) -> dict[str, str]:
    """The files of a kustomize base by name: the namespaces, one for each playbook, and what names them."""
    _check(playbooks, settings)
    settings = _shared(playbooks, settings)
    files = {NAMESPACES: text(namespaces((one.playbook for one in playbooks), settings))}
    files |= {ACCOUNT: text(accounts)} if (accounts := _accounts(settings)) else {}
    files |= {f"{one.playbook.name}.yaml": text(of_playbook(one, settings)) for one in playbooks}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(files),
    }
    return files | {KUSTOMIZATION: text([kustomization])}


def _shared(playbooks: Sequence[Written], settings: Settings) -> Settings:
    """Several playbooks have one account: whichever runs next must be able to finish what a killed one left."""
    if len(playbooks) < 2 or settings.service_account:
        return settings
    return replace(settings, service_account=SHARED)


def _accounts(settings: Settings) -> list[Obj]:
    return [service_account(settings)] if settings.service_account else []


def _check(playbooks: Sequence[Written], settings: Settings) -> None:
    """InputError for what no cluster would take, and for what a run there would refuse."""
    check(settings)
    names = [one.playbook.name for one in playbooks]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"Two of the playbooks are called {double}: their objects would overwrite each other.")
    for one in playbooks:
        check_name(one.playbook.name)
        check_alone(one.playbook, one.playbook.drills)


def text(objects: Iterable[Obj]) -> str:
    """Objects as YAML: keys in their order, texts of several lines as blocks."""
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=120, explicit_start=True, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """No anchors: the same labels stand at several places."""
        del data
        return True


def _represent(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _represent)
