"""``python -m bench [WHAT...]``: measure and print; exit 1 if a promise is broken, 3 if something was not measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import click

from bench import check, commands, drill, flood, game_day, lab
from bench.figures import Figure, UnmeasuredError

MEASURES: dict[str, Callable[[], Iterator[Figure]]] = {
    "help": commands.start,
    "check": check.check,
    "lab": lab.lab,
    "unit": commands.unit_tests,
    "lies": commands.lies,
    "drill": drill.drill,
    "flood": flood.flood,
    "game-day": game_day.game_day,
    "busy": drill.busy,
    "real-time": drill.real_time,
}
COLUMNS = "{:<44} {:>10} {:>10} {:>6}  {:<10} {}"


@click.command()
@click.argument("what", nargs=-1, type=click.Choice(list(MEASURES)))
@click.pass_context
def bench(context: click.Context, what: Sequence[str]) -> None:
    """Print each figure with its floor, taken in the same run, and the limit that the project promises."""
    click.echo(COLUMNS.format("", "measured", "floor", "ratio", "limit", "the floor is"))
    status = 0
    for name in what or MEASURES:
        try:
            for figure in MEASURES[name]():
                click.echo(_line(figure))
                status = max(status, 0 if figure.kept else 1)
        except UnmeasuredError as error:
            click.echo(f"{name}: not measured: {error}")
            status = 3
    context.exit(status)


def _line(figure: Figure) -> str:
    limit = "" if figure.limit is None else f"{figure.limit:g} {'x' if figure.limit_is_ratio else figure.unit}"
    return COLUMNS.format(
        figure.name,
        _number(figure.value, figure.unit),
        _number(figure.floor, figure.unit),
        f"{figure.ratio:.1f}",
        limit if figure.kept else f"{limit} !",
        figure.floor_name,
    )


def _number(value: float, unit: str) -> str:
    if unit == "MB":
        return f"{value:.0f} MB"
    if not unit:
        return f"{value:g}"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


if __name__ == "__main__":
    bench.main(prog_name="python -m bench")
