"""What several commands take: the lab or a cluster, what watches it, and where results go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drills.errors import InputError

if TYPE_CHECKING:
    from alerts.http_config import HttpConfig
    from drills.engine.target import Target
    from drills.lab.client import LabRequest


def lab_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a lab is started with: the same for ``run --lab`` and ``lab up``."""
    options = (
        click.option(
            "--manifests",
            multiple=True,
            metavar="DIR",
            type=click.Path(path_type=Path),
            help="Manifests in place of the demo application, its policies and the shipped rules. Repeatable: "
            "directories add up in order.",
        ),
        click.option(
            "--validation",
            type=click.Choice(["strict", "warn"]),
            help="Unknown fields in manifests: skip the object (strict, the default), or prune them and say so.",
        ),
        click.option("--time-lapse", type=int, metavar="K", help="The lab's clock runs K times faster (default 15)."),
        click.option("--real-time", is_flag=True, help="The same as --time-lapse 1."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def watched_by(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where the alerts of a cluster are read, and with which credentials."""
    path = click.Path(path_type=Path)
    options = (
        click.option(
            "--prometheus",
            multiple=True,
            metavar="URL",
            help="Prometheus of the cluster: a URL, or service:NAMESPACE/[https:]NAME:PORT[/PATH], a Service of the "
            "cluster through the API server's proxy, with the API's own credentials. Repeatable, for the replicas of a "
            "highly available one.",
        ),
        click.option("--alertmanager", metavar="URL", help="Alertmanager of the cluster, in the same way."),
        click.option(
            "--prometheus-http-config",
            metavar="FILE",
            type=path,
            help="Credentials and certificates for that URL: the file that promtool takes with --http.config.file "
            "(authorization, basic_auth, tls_config).",
        ),
        click.option("--alertmanager-http-config", metavar="FILE", type=path, help="The same for Alertmanager."),
    )
    for option in reversed(options):
        command = option(command)
    return command


published = click.option(
    "--publish",
    multiple=True,
    metavar="WHERE",
    help="Where results go beside the files: events, configmap, pushgateway=URL, scrape=HOST:PORT, grafana=URL. "
    "Repeatable.",
)


def request(options: dict[str, Any]) -> LabRequest:
    from drills.lab.client import LabRequest

    if options["real_time"] and options["time_lapse"] not in (None, 1):
        raise InputError("--real-time is --time-lapse 1: give one of the two.")
    return LabRequest(
        manifests=options["manifests"],
        validation=options["validation"],
        time_lapse=1 if options["real_time"] else options["time_lapse"],
    )


_OUTSIDE = ("prometheus", "alertmanager", "prometheus_http_config", "alertmanager_http_config")


def one_target(options: dict[str, Any]) -> None:
    lab_only = [
        f"--{name.replace('_', '-')}"
        for name in ("manifests", "validation", "time_lapse", "real_time")
        if options[name]
    ]
    if options["in_lab"] and options["context"]:
        raise InputError("--lab and --context name two targets: give one of them.")
    if options["in_lab"]:
        outside = [f"--{name.replace('_', '-')}" for name in _OUTSIDE if options[name]]
        if outside:
            raise InputError(f"{' and '.join(outside)}: the lab has its own; leave it out, or name a --context.")
        return
    if lab_only:
        raise InputError(f"{lab_only[0]} only means something with --lab.")
    if not options["context"] and not in_pod():
        raise InputError("Where shall it run? Give --lab for the embedded lab, or --context NAME for a cluster.")
    if not options["prometheus"]:
        raise InputError("On a cluster the alerts are read from Prometheus: give --prometheus URL.")
    if options["alertmanager_http_config"] and not options["alertmanager"]:
        raise InputError("--alertmanager-http-config only means something with --alertmanager.")


def in_pod() -> bool:
    """Whether this process runs in a pod of a cluster, which then is the target unless another one is named."""

    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def http_config_of(path: Path | None) -> HttpConfig:
    from alerts.http_config import HttpConfig

    return HttpConfig() if path is None else HttpConfig.load(path)


@contextmanager
def target_of(options: dict[str, Any], say: Callable[[str], None], prepare: Callable[[], None]) -> Iterator[Target]:
    """Where to run; ``prepare`` is called before, or while a lab starts."""
    if not options["in_lab"]:
        prepare()
        from drills.engine.target import Addresses, connect

        first, *others = options["prometheus"]
        addresses = Addresses(
            first,
            options["alertmanager"],
            None,
            http_config_of(options["prometheus_http_config"]),
            http_config_of(options["alertmanager_http_config"]),
            tuple(others),
        )
        yield connect("cluster", addresses, context=options["context"], in_cluster=not options["context"])
        return
    from drills.lab import client

    with client.held(request(options), progress=say, meanwhile=prepare) as lab:
        from drills.engine.target import Addresses, connect

        for note in lab.notes:
            say(note)
        addresses = Addresses(lab.prometheus, lab.alertmanager, lab.receiver)
        yield connect("lab", addresses, kubeconfig=lab.kubeconfig)


def log(text: str) -> None:
    click.echo(text, err=True)
