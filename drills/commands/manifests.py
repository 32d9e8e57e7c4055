"""``drills manifests``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from drills.commands.targets import published
from drills.errors import InputError


@click.command()
@click.argument("playbooks", nargs=-1, required=True, metavar="PLAYBOOK...", type=click.Path(path_type=Path))
@click.option(
    "--schedule",
    "schedules",
    multiple=True,
    metavar="CRON",
    help="When it runs, such as '0 3 * * 1'; one for each playbook. Without one, only when asked.",
)
@click.option("--timezone", default="Etc/UTC", metavar="NAME", help="Of the schedule.", show_default=True)
@click.option("--namespace", default="drills", metavar="NAME", help="Where the runner lives.", show_default=True)
@click.option(
    "--service-account",
    metavar="NAME",
    help="Who the runner is (default drills-PLAYBOOK, and drills-runner for several, which finish what another left).",
)
@click.option("--image", metavar="IMAGE", help="The project's image, of the runner and of drill pods.")
@click.option("--prometheus", metavar="URL", help="Prometheus as the runner reaches it: what `drills run` takes.")
@click.option("--alertmanager", metavar="URL", help="Alertmanager, in the same way; '' for none.")
@click.option(
    "--pushgateway", metavar="URL", help="Where the metrics go that the alerts on drills read; '' for nowhere."
)
@published
@click.option(
    "--prometheus-http-config",
    metavar="SECRET/KEY",
    help="Credentials for Prometheus: the file that `drills run` takes, in a Secret of the runner's namespace; what it "
    "names lies beside it.",
)
@click.option("--alertmanager-http-config", metavar="SECRET/KEY", help="The same for Alertmanager.")
@click.option("--grafana-token", metavar="SECRET/KEY", help="The token for --publish grafana=URL, in such a Secret.")
@click.option(
    "--rule-label", "rule_labels", multiple=True, metavar="KEY=VALUE", help="On the PrometheusRule. Repeatable."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A kustomize base in DIR, not YAML on standard output.",
)
def manifests(
    playbooks: Sequence[Path], schedules: Sequence[str], out: Path | None, rule_labels: Sequence[str], **options: Any
) -> int:
    """What goes into a cluster: rights, CronJob, playbook, network policy, and alerts that watch the drills.

    For `kubectl apply -f -`, or with --out for `kubectl apply -k DIR`.
    """
    from drills.deploy import manifests as deployment
    from drills.deploy.settings import SecretKey, Settings
    from drills.engine.publications import parse_all
    from drills.playbook import load

    labels = dict(one.partition("=")[::2] for one in rule_labels)
    if not all(labels.values()):
        raise InputError("--rule-label takes KEY=VALUE.")
    given = {key: value for key, value in options.items() if value is not None}
    for name in ("prometheus_http_config", "alertmanager_http_config", "grafana_token"):
        if name in given:
            given[name] = SecretKey.parse(given[name])
    settings = Settings(**given | {"rule_labels": labels, "publish": parse_all(options["publish"])})
    if schedules and len(schedules) != len(playbooks):
        raise InputError("Give one --schedule for each playbook, in their order: two runs keep each other out.")
    when: list[str | None] = [*schedules] or [None for _ in playbooks]
    written = [deployment.Written(path, load(path), at) for path, at in zip(playbooks, when, strict=True)]
    if out is None:
        click.echo(deployment.stream(written, settings), nl=False)
        return 0
    out.mkdir(parents=True, exist_ok=True)
    for name, text in deployment.base(written, settings).items():
        (out / name).write_text(text, encoding="utf-8")
        click.echo(str(out / name))
    return 0
