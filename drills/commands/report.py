"""``drills report`` and ``drills schema``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    pass


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def report(directory: Path) -> int:
    """Make the reports again from what a run left in DIR: its result and its journal.

    The exit status tells whether the reports could be made, not what they say.
    """
    from drills.report import files

    for path in files.again(directory):
        click.echo(str(path))
    return 0


@click.command()
def schema() -> int:
    """The playbook's JSON Schema, for editors."""
    from drills.playbook import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
    return 0
