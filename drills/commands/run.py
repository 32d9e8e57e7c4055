"""``drills run``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drills.commands.targets import lab_options, one_target, published, target_of, watched_by
from drills.errors import WorldError

if TYPE_CHECKING:
    from drills.engine.events import Event
    from drills.engine.run import Job
    from drills.engine.target import Target
    from drills.playbook import Playbook
    from drills.report.console import Console


@click.command()
@click.argument("playbooks", nargs=-1, required=True, metavar="PLAYBOOK...", type=click.Path(path_type=Path))
@click.option("--lab", "in_lab", is_flag=True, help="On the embedded lab: the one that is up, else one of its own.")
@lab_options
@click.option(
    "--context",
    metavar="NAME",
    help="On the cluster of this kubeconfig context. In a pod without it: on its own cluster.",
)
@watched_by
@click.option("--only", multiple=True, metavar="DRILL", help="Run only this drill. Repeatable.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Where results go (default drills-out/TIME)."
)
@click.option("--recover", "recover_first", is_flag=True, help="First undo what an interrupted run left.")
@published
def run(playbooks: Sequence[Path], only: Sequence[str], out: Path | None, **options: Any) -> int:
    """Run playbooks on the lab or on a cluster, and judge what came of it."""
    from drills.engine.publications import parse_all
    from drills.playbook import load
    from drills.report.console import Console
    from drills.report.logging import configure

    configure()
    one_target(options)
    options["publish"] = parse_all(options["publish"])
    loaded = [(path, load(path)) for path in playbooks]
    jobs: list[Job] = []

    def prepare() -> None:  # loads the engine, which takes about as long as all before it
        from drills.engine import run as engine
        from drills.report import files  # noqa: F401 - needed at the end, and there is time now

        jobs.extend(engine.select(loaded, only))

    with Console() as console, target_of(options, console.say, prepare) as target:
        return _run(jobs, target, console, out, options)


def _run(jobs: Sequence[Job], target: Target, console: Console, out: Path | None, options: dict[str, Any]) -> int:
    from drills.engine import run as engine
    from drills.engine.interrupt import Interrupt
    from drills.engine.session import alone
    from drills.engine.verdict import EXIT_STATUS, worst
    from drills.publish import choose
    from drills.publish.base import Publisher
    from drills.report import files
    from drills.report.logging import log_event, log_results

    folder = out or engine.default_out()
    watched = sys.stdout.isatty() and sys.stderr.isatty()  # the live view shows what the log would say
    results = []
    with (
        Interrupt(console.say) as interrupt,
        alone(
            target.cluster,
            console.say,
            interrupt.abort,
            recover_first=options["recover_first"],
            command=f"drills recover --context {options['context']}" if options["context"] else "drills recover",
            alertmanager=target.way_to_alertmanager(),
        ),
    ):
        publisher = Publisher(choose.publications(options["publish"], target.cluster, interrupt.stop), console.say)

        for job in jobs[1:]:
            engine.check(job, target)  # nothing begins where a later playbook would be refused
        try:
            for job in jobs:

                def listener(event: Event, playbook: Playbook = job.playbook) -> None:
                    console(event)
                    publisher.hear(event, playbook)
                    if not watched:
                        log_event(event)

                own = files.directory(folder if len(jobs) == 1 else folder / job.playbook.name)
                result = engine.run(job, target, own, listener, interrupt)
                console.files(files.write(result, own))
                results.append(result)
                if interrupt.stop.is_set():
                    break
        finally:
            if len(jobs) > 1:
                unfinished = [job.playbook.name for job in jobs[len(results) :]]
                console.files([files.write_summary(results, folder, unfinished)])
            publisher.close()
    if not watched:
        log_results(results)
    verdicts = [result.verdict for result in results]
    status = EXIT_STATUS[worst([*verdicts, "aborted"] if len(results) < len(jobs) else verdicts)]
    return WorldError.exit_status if publisher.failed and status == 0 else status
