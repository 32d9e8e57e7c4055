"""``drills check`` and ``drills explain``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drills.errors import InputError

if TYPE_CHECKING:
    pass


class _WrittenPath(click.Path):
    """A path that says something: the empty text of an unset variable would be the working directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty text is no path.", param, ctx)
        return super().convert(value, param, ctx)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=_WrittenPath(path_type=Path))
@click.option(
    "--cilium-version",
    "cilium",
    metavar="X.Y",
    default="1.20",
    show_default=True,
    help="Whose metrics and policy rules hold.",
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "sarif", "github"]), default="text", show_default=True
)
@click.option(
    "--write-tests",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Leave the alerts' evaluation as promtool unit tests.",
)
@click.option(
    "--min-coverage",
    type=click.IntRange(0, 100),
    metavar="N",
    help="An error if fewer than N % of the alerts are exercised by a drill; exit 2 if there are no alerts.",
)
@click.option(
    "--catalog",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Metrics of your own, in the format of alerts/catalog.",
)
@click.option("--prometheus", metavar="URL", help="Ask this Prometheus which metrics exist.")
def check(paths: Sequence[Path], form: str, **options: Any) -> int:
    """Prove policies, alert rules and playbooks from their files alone, before they are deployed.

    Exit 1 if something at error level is wrong, 2 if a file cannot be read or an option means nothing.
    """
    from drills.check import checks, coverage, reading
    from drills.check.output import FORMATS
    from drills.check.world import Options

    if options["prometheus"] is not None:
        from alerts.http_config import checked

        options["prometheus"] = checked(options["prometheus"], service=False)
    world = reading.read(paths, Options(**options))
    found = checks.findings(world)
    if form == "text" and world.empty and not found:
        click.echo(
            "Nothing was found to check: no Kubernetes object, rule file, Alertmanager configuration or playbook."
        )
        return 0
    click.echo(FORMATS[form](found), nl=False)
    if form == "text" and (table := coverage.table(world)):
        click.echo(f"\n{table}", nl=False)
    coverage.demand(world)
    return checks.exit_status(found)


@click.command()
@click.argument("rule", required=False, metavar="FINDING")
def explain(rule: str | None) -> int:
    """What a finding of `drills check` means and how to mend it; without a name, all there are."""
    from drills.check import explain as pages
    from drills.check.checks import RULES
    from drills.playbook.nearest import did_you_mean

    if rule is None:
        click.echo(pages.listing(RULES.values()))
        return 0
    if rule not in RULES:
        raise InputError(f'No finding is called "{rule}"; {did_you_mean(rule, sorted(RULES), "findings")}')
    click.echo(pages.page(RULES[rule]), nl=False)
    return 0
