"""The commands: parse, call, print, exit status. Everything else is imported inside the command that needs it.

Exit status (a contract): 0 passed or clean; 1 a judged failure; 2 what the user wrote is wrong; 3 inconclusive, or what
the world lacks, or an internal error; 4 aborted by a guard or an interrupt, everything rolled back. Standard output
carries the result, standard error the log.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from drills import __version__
from drills.errors import Aborted, DrillsError, InputError, WorldError

if TYPE_CHECKING:
    from alerts.http_config import HttpConfig
    from drills.engine.events import Event
    from drills.engine.planning import World
    from drills.engine.run import Job
    from drills.engine.target import Target
    from drills.kube import Cluster
    from drills.lab.client import LabRequest
    from drills.playbook import Playbook
    from drills.reach import Reach
    from drills.report.console import Console

INTERNAL_ERROR = 3


class Commands(click.Group):
    """Commands in the order in which a reader needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they were defined."""
        del ctx
        return list(self.commands)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="drills", message="%(prog)s %(version)s")
def cli() -> None:
    """Security drills for Kubernetes clusters that run Cilium, and proof that the alerts which watch them work.

    Exit status: 0 passed; 1 a judged failure; 2 what you wrote is wrong; 3 inconclusive, or what the world lacks; 4
    aborted, everything rolled back.
    """


class _WrittenPath(click.Path):
    """A path that says something: the empty text of an unset variable would be the working directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty text is no path.", param, ctx)
        return super().convert(value, param, ctx)


def _lab_options(command: Callable[..., Any]) -> Callable[..., Any]:
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


def _watched_by(command: Callable[..., Any]) -> Callable[..., Any]:
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


_published = click.option(
    "--publish",
    multiple=True,
    metavar="WHERE",
    help="Where results go beside the files: events, configmap, pushgateway=URL, scrape=HOST:PORT, grafana=URL. "
    "Repeatable.",
)


def _request(options: dict[str, Any]) -> LabRequest:
    from drills.lab.client import LabRequest

    if options["real_time"] and options["time_lapse"] not in (None, 1):
        raise InputError("--real-time is --time-lapse 1: give one of the two.")
    return LabRequest(
        manifests=options["manifests"],
        validation=options["validation"],
        time_lapse=1 if options["real_time"] else options["time_lapse"],
    )


@cli.command()
@click.argument("playbooks", nargs=-1, required=True, metavar="PLAYBOOK...", type=click.Path(path_type=Path))
@click.option("--lab", "in_lab", is_flag=True, help="On the embedded lab: the one that is up, else one of its own.")
@_lab_options
@click.option(
    "--context",
    metavar="NAME",
    help="On the cluster of this kubeconfig context. In a pod without it: on its own cluster.",
)
@_watched_by
@click.option("--only", multiple=True, metavar="DRILL", help="Run only this drill. Repeatable.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Where results go (default drills-out/TIME)."
)
@click.option("--recover", "recover_first", is_flag=True, help="First undo what an interrupted run left.")
@_published
def run(playbooks: Sequence[Path], only: Sequence[str], out: Path | None, **options: Any) -> int:
    """Run playbooks on the lab or on a cluster, and judge what came of it."""
    from drills.engine.publications import parse_all
    from drills.playbook import load
    from drills.report.console import Console
    from drills.report.logging import configure

    configure()
    _one_target(options)
    options["publish"] = parse_all(options["publish"])
    loaded = [(path, load(path)) for path in playbooks]
    jobs: list[Job] = []

    def prepare() -> None:  # loads the engine, which takes about as long as all before it
        from drills.engine import run as engine
        from drills.report import files  # noqa: F401 - needed at the end, and there is time now

        jobs.extend(engine.select(loaded, only))

    with Console() as console, _target(options, console.say, prepare) as target:
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
            command=_recover_command(options["context"]),
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


_OUTSIDE = ("prometheus", "alertmanager", "prometheus_http_config", "alertmanager_http_config")


def _one_target(options: dict[str, Any]) -> None:
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
    if not options["context"] and not _in_pod():
        raise InputError("Where shall it run? Give --lab for the embedded lab, or --context NAME for a cluster.")
    if not options["prometheus"]:
        raise InputError("On a cluster the alerts are read from Prometheus: give --prometheus URL.")
    if options["alertmanager_http_config"] and not options["alertmanager"]:
        raise InputError("--alertmanager-http-config only means something with --alertmanager.")


def _in_pod() -> bool:
    """Whether this process runs in a pod of a cluster, which then is the target unless another one is named."""
    import os

    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def _http_config(path: Path | None) -> HttpConfig:
    from alerts.http_config import HttpConfig

    return HttpConfig() if path is None else HttpConfig.load(path)


@contextmanager
def _target(options: dict[str, Any], say: Callable[[str], None], prepare: Callable[[], None]) -> Iterator[Target]:
    """Where to run; ``prepare`` is called before, or while a lab starts."""
    if not options["in_lab"]:
        prepare()
        from drills.engine.target import Addresses, connect

        first, *others = options["prometheus"]
        addresses = Addresses(
            first,
            options["alertmanager"],
            None,
            _http_config(options["prometheus_http_config"]),
            _http_config(options["alertmanager_http_config"]),
            tuple(others),
        )
        yield connect("cluster", addresses, context=options["context"], in_cluster=not options["context"])
        return
    from drills.lab import client

    with client.held(_request(options), progress=say, meanwhile=prepare) as lab:
        from drills.engine.target import Addresses, connect

        for note in lab.notes:
            say(note)
        addresses = Addresses(lab.prometheus, lab.alertmanager, lab.receiver)
        yield connect("lab", addresses, kubeconfig=lab.kubeconfig)


@cli.command()
@click.argument("playbooks", nargs=-1, required=True, metavar="PLAYBOOK...", type=click.Path(path_type=Path))
@click.option("--lab", "in_lab", is_flag=True, help="Ask the embedded lab: the one that is up, else one of its own.")
@_lab_options
@click.option(
    "--context",
    metavar="NAME",
    help="Ask the cluster of this kubeconfig context. In a pod without it: its own.",
)
@_watched_by
@click.option("--only", multiple=True, metavar="DRILL", help="Plan only this drill. Repeatable.")
@_published
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
        _one_target(options)
        with _target(options, _log, lambda: None) as target:
            at = target.addresses
            addresses = tuple(filter(None, (at.prometheus, *at.replicas, at.alertmanager)))
            yield World(
                target.name, target.cluster, target.sources().prometheus, target.time_lapse, addresses, at.alertmanager
            )
    elif options["context"] or _in_pod():
        cluster = Cluster.connect(context=options["context"], in_cluster=not options["context"])
        yield World(cluster.name, cluster, None, 1.0)
    else:
        yield None


@cli.command()
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
    found = _left_on(context, alertmanager, _http_config(alertmanager_http_config))
    if found is None:
        click.echo("No lab is up, so nothing is left in one. For a cluster, give --context NAME.")
        return 0
    cluster, way = found
    with Interrupt(_log) as interrupt, holding(cluster, _log, interrupt.abort):
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
    if not context and not _in_pod():
        return None
    cluster = Cluster.connect(context=context, in_cluster=not context)
    return cluster, way_to(cluster, alertmanager, http) if alertmanager else None


def _recover_command(context: str | None) -> str:
    return f"drills recover --context {context}" if context else "drills recover"


@cli.group(cls=Commands)
def lab() -> None:
    """The embedded cluster: up, down, status, logs.

    DRILLS_LAB=NAME names another lab than the default one.
    """


@lab.command()
@_lab_options
def up(**options: Any) -> int:
    """Bring the lab up and leave it up.

    The last line on standard output is the kubeconfig's path.
    """
    from drills.lab import client

    found = client.up(_request(options), progress=_log)
    for note in found.notes:
        _log(note)
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


@cli.command()
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


@cli.command()
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
@_published
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


@cli.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def report(directory: Path) -> int:
    """Make the reports again from what a run left in DIR: its result and its journal.

    The exit status tells whether the reports could be made, not what they say.
    """
    from drills.report import files

    for path in files.again(directory):
        click.echo(str(path))
    return 0


@cli.command()
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


@cli.command()
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


@cli.command()
def schema() -> int:
    """The playbook's JSON Schema, for editors."""
    from drills.playbook import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
    return 0


def _log(text: str) -> None:
    click.echo(text, err=True)


def main() -> NoReturn:
    """The command ``drills``: every error ends as one sentence on standard error."""
    sys.exit(_main())


def _main() -> int:
    try:
        status = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return InputError.exit_status
    except DrillsError as error:
        _log(f"drills: {error}")
        return error.exit_status
    except (click.Abort, KeyboardInterrupt):
        _log("drills: interrupted before anything was changed.")
        return 4
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; Python would complain while it shuts down
        return INTERNAL_ERROR
    except Exception as error:  # noqa: BLE001 - the edge: a traceback is a bug, but the user gets a sentence
        return _internal_error(error)
    return status if isinstance(status, int) else 0


def _internal_error(error: Exception) -> int:
    import os
    import traceback

    if os.environ.get("DRILLS_DEBUG"):
        traceback.print_exception(error)
    _log(
        f"drills: internal error ({type(error).__name__}: {error}). This is a bug: please report it with the output of "
        "the same command under DRILLS_DEBUG=1."
    )
    return INTERNAL_ERROR


if __name__ == "__main__":
    main()
