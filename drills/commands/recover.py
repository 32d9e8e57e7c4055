"""``drills recover``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from drills.commands.targets import http_config_of, in_pod, log
from drills.errors import Aborted, InputError

if TYPE_CHECKING:
    from alerts.http_config import HttpConfig
    from drills.kube import Cluster
    from drills.reach import Reach


@click.command()
@click.option("--context", metavar="NAME", help="On the cluster of this kubeconfig context, not on the lab that is up.")
@click.option(
    "--accept", is_flag=True, help="Leave what somebody else changed meanwhile as it is, and be done with it."
)
@click.option(
    "--alertmanager",
    metavar="URL",
    help="Where to end a cluster's silences, as `drills run` takes it (default: where they were laid).",
)
@click.option(
    "--alertmanager-http-config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Credentials and certificates for that URL.",
)
def recover(context: str | None, accept: bool, alertmanager: str | None, alertmanager_http_config: Path | None) -> int:
    """Undo what an interrupted run left, in the lab that is up or in a cluster. It can be repeated.

    In a pod without a lab: in the pod's own cluster.

    A silence is ended even if its alert still fires, which is said: its receiver is told then.

    Exit 0 if nothing is left, 1 if something could not be put back, 3 if that could not be found out.
    """
    from drills.engine import recovery
    from drills.engine.interrupt import Interrupt
    from drills.engine.session import holding

    if alertmanager_http_config and not alertmanager:
        raise InputError("--alertmanager-http-config only means something with --alertmanager.")
    found = _left_on(context, alertmanager, http_config_of(alertmanager_http_config))
    if found is None:
        click.echo("No lab is up, so nothing is left in one. For a cluster, give --context NAME.")
        return 0
    cluster, way = found
    with Interrupt(log) as interrupt, holding(cluster, log, interrupt.abort):
        undone = recovery.recover(cluster, click.echo, accept=accept, stop=interrupt.stop, alertmanager=way)
    if interrupt.reason is not None:
        raise Aborted(f"Stopped: {interrupt.reason}. What is not said above is still recorded: `drills recover` again.")
    if not undone:
        click.echo(f"Nothing is left to undo on {cluster.name}.")
    return recovery.exit_status(undone)


def _left_on(context: str | None, alertmanager: str | None, http: HttpConfig) -> tuple[Cluster, Reach | None] | None:
    """Where to recover, and the way to its Alertmanager if another than was recorded; None where there is nothing."""
    from drills.engine.target import check_address, way_to
    from drills.kube import Cluster
    from drills.lab import client

    if alertmanager:
        check_address("--alertmanager", alertmanager, credentials=not http.empty)
    lab = None if context else client.status()
    if lab is not None:
        if alertmanager:
            raise InputError("--alertmanager: the lab has its own; leave it out, or name a --context.")
        cluster = Cluster.connect(kubeconfig=lab.kubeconfig)
        return cluster, way_to(cluster, lab.alertmanager, http)
    if not context and not in_pod():
        return None
    cluster = Cluster.connect(context=context, in_cluster=not context)
    return cluster, way_to(cluster, alertmanager, http) if alertmanager else None
