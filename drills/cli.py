"""The command ``drills``: what there is (``drills.commands``), and how every error ends.

Exit status (a contract): 0 passed or clean; 1 a judged failure; 2 what the user wrote is wrong; 3 inconclusive, or what
the world lacks, or an internal error; 4 aborted by a guard or an interrupt, everything rolled back. Standard output
carries the result, standard error the log.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from drills import __version__
from drills.commands import Commands, check, lab, manifests, plan, recover, report, run
from drills.commands.targets import log
from drills.errors import DrillsError, InputError

INTERNAL_ERROR = 3


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="drills", message="%(prog)s %(version)s")
def cli() -> None:
    """Security drills for Kubernetes clusters that run Cilium, and proof that the alerts which watch them work.

    Exit status: 0 passed; 1 a judged failure; 2 what you wrote is wrong; 3 inconclusive, or what the world lacks; 4
    aborted, everything rolled back.
    """


for command in (
    run.run,
    plan.plan,
    recover.recover,
    lab.lab,
    lab.doctor,
    manifests.manifests,
    report.report,
    check.check,
    check.explain,
    report.schema,
):
    cli.add_command(command)


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
        log(f"drills: {error}")
        return error.exit_status
    except (click.Abort, KeyboardInterrupt):
        log("drills: interrupted before anything was changed.")
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
    log(
        f"drills: internal error ({type(error).__name__}: {error}). This is a bug: please report it with the output of "
        "the same command under DRILLS_DEBUG=1."
    )
    return INTERNAL_ERROR


if __name__ == "__main__":
    main()
