"""``drills plan``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drills.commands.targets import in_pod, lab_options, log, one_target, published, target_of, watched_by

if TYPE_CHECKING:
    from drills.engine.planning import World


@click.command()
@click.argument("playbooks", nargs=-1, required=True, metavar="PLAYBOOK...", type=click.Path(path_type=Path))
@click.option("--lab", "in_lab", is_flag=True, help="Ask the embedded lab: the one that is up, else one of its own.")
@lab_options
@click.option(
    "--context",
    metavar="NAME",
    help="Ask the cluster of this kubeconfig context. In a pod without it: its own.",
)
@watched_by
@click.option("--only", multiple=True, metavar="DRILL", help="Plan only this drill. Repeatable.")
@published
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def plan(playbooks: Sequence[Path], only: Sequence[str], form: str, **options: Any) -> int:
    """What a run would touch, which rights it needs and whether they are there, in which order, how long.

    It only asks. Exit 0 if nothing lacks, 3 if something does, 2 if the playbook itself could not run.
    """
    from drills.engine import planning
    from drills.engine import run as engine
    from drills.engine.publications import parse_all
    from drills.playbook import load
    from drills.report import planned

    publish = parse_all(options["publish"])
    jobs = engine.select([(path, load(path)) for path in playbooks], only)
    with _world(options) as world:
        found = [planning.plan(job, world, publish) for job in jobs]
    if form == "json":
        click.echo(json.dumps([one.model_dump(mode="json", by_alias=True) for one in found], indent=2))
    else:
        click.echo("\n\n".join("\n".join(planned.lines(one)) for one in found))
    return max(one.exit_status for one in found)


@contextmanager
def _world(options: dict[str, Any]) -> Iterator[World | None]:
    """Whom a plan may ask: a target, a cluster without its Prometheus, or nobody."""
    from drills.engine.planning import World
    from drills.kube import Cluster

    if options["in_lab"] or options["prometheus"]:
        one_target(options)
        with target_of(options, log, lambda: None) as target:
            at = target.addresses
            addresses = tuple(filter(None, (at.prometheus, *at.replicas, at.alertmanager)))
            yield World(
                target.name, target.cluster, target.sources().prometheus, target.time_lapse, addresses, at.alertmanager
            )
    elif options["context"] or in_pod():
        cluster = Cluster.connect(context=options["context"], in_cluster=not options["context"])
        yield World(cluster.name, cluster, None, 1.0)
    else:
        yield None
