"""``drills lab`` and ``drills doctor``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from drills.commands import Commands
from drills.commands.targets import lab_options, log, request
from drills.errors import WorldError

if TYPE_CHECKING:
    pass


@click.group(cls=Commands)
def lab() -> None:
    """The embedded cluster: up, down, status, logs.

    DRILLS_LAB=NAME names another lab than the default one.
    """


@lab.command()
@lab_options
def up(**options: Any) -> int:
    """Bring the lab up and leave it up.

    The last line on standard output is the kubeconfig's path.
    """
    from drills.lab import client

    found = client.up(request(options), progress=log)
    for note in found.notes:
        log(note)
    click.echo(f"prometheus    {found.prometheus}")
    click.echo(f"alertmanager  {found.alertmanager}")
    click.echo(str(found.kubeconfig))
    return 0


@lab.command()
def down() -> int:
    """Take the lab down; nothing of it stays."""
    from drills.lab import client

    click.echo("The lab is down." if client.down() else "No lab was up.")
    return 0


@lab.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(form: str) -> int:
    """Where everything of the lab is. Exit 3 if none is up."""
    from drills.lab import client

    found = client.status()
    if found is None:
        raise WorldError("No lab is up: `drills lab up` brings one up.")
    if form == "json":
        click.echo(found.to_json())
        return 0
    facts = json.loads(found.to_json())
    notes, maps = facts.pop("notes"), {key: facts.pop(key) for key in ("agents", "hubble")}
    rows = [*facts.items(), *((f"{key} {node}", url) for key, urls in maps.items() for node, url in urls.items())]
    width = max(len(key) for key, _ in rows)
    for key, value in rows:
        click.echo(f"{key.replace('_', ' '):<{width}}  {value}")
    for note in notes:
        click.echo(f"note: {note}")
    return 0


@lab.command()
@click.argument("program", required=False)
def logs(program: str | None) -> int:
    """The lab's log, or that of one of its programs (prometheus, envoy-k8s-w1, ...)."""
    from drills.lab import client

    for line in client.logs(program):
        click.echo(line, nl=False)
    return 0


@click.command()
@click.option("--quiet", is_flag=True, help="Print nothing if nothing is missing.")
def doctor(quiet: bool) -> int:
    """What this machine lacks for the lab, all of it at once. Exit 3 if a lab needs it, or a package brings it."""
    from drills.lab import doctor as examination

    missing = [finding for finding in examination.findings() if not finding.ok]
    for finding in missing:
        click.echo(str(finding))
    if any(finding.blocks or finding.package for finding in missing):
        return WorldError.exit_status
    if not quiet:
        click.echo("The lab can start." if missing else "Nothing is missing: the lab can start.")
    return 0
