"""One run at a time on a cluster, and none over what an earlier one left behind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

from drills.engine.records import Outstanding, Records
from drills.engine.recovery import recover
from drills.engine.undone import Undone
from drills.errors import WorldError
from drills.kube import Cluster
from drills.kube.lease import Lease
from drills.reach import Reach

Say = Callable[[str], None]
_NAMED = 3  # changes that a sentence names


@contextlib.contextmanager
def alone(
    cluster: Cluster,
    say: Say,
    abort: Callable[[str], None],
    *,
    recover_first: bool,
    command: str,
    alertmanager: Reach | None = None,
) -> Iterator[None]:
    """Hold the cluster for this block, with nothing left to undo on it when it begins.

    ``abort`` is told, from a thread, when the hold is lost; ``command`` is what undoes what is left. WorldError where
    another run is at work, or where an earlier one left changes that are not undone (``recover_first``: undo them;
    silences at ``alertmanager`` if it is given).
    """
    with holding(cluster, say, abort):
        left = Records(cluster).outstanding()
        if left and not recover_first:
            raise WorldError(
                f"An earlier run{_whose(left)} left {_count(left)} on {cluster.name} "
                f"({_names(one.what for one in left)}): `{command}` first, or add --recover."
            )
        undone = recover(cluster, say, alertmanager=alertmanager) if left else []
        if rest := [one for one in undone if not one.finished]:
            raise WorldError(
                f"Not all that an earlier run{_whose(left)} left could be put back ({_texts(rest)}): "
                f"`{command}`{_with_whose_rights(left)}."
            )
        yield
        _tell_rest(cluster, say, command)


@contextlib.contextmanager
def holding(cluster: Cluster, say: Say, abort: Callable[[str], None]) -> Iterator[None]:
    """Hold the Lease for this block. WorldError where another run is at work."""
    with Lease(cluster, abort) as lease:
        if lease.before is not None:
            say(f"Took over the Lease of {lease.before.holder}, which ended without giving it back.")
        yield


def _tell_rest(cluster: Cluster, say: Say, command: str) -> None:
    with contextlib.suppress(WorldError):  # the verdict has said already what is wrong with the API
        if left := Records(cluster).outstanding():
            say(f"Not undone on {cluster.name}: {_names(one.what for one in left)}. Finish it with `{command}`.")


def _whose(left: Iterable[Outstanding]) -> str:
    names = sorted({one.playbook for one in left} - {""})
    return f" of {' and '.join(names)}" if names else ""


def _with_whose_rights(left: Iterable[Outstanding]) -> str:
    """Each playbook's account in a cluster has its own rights, and cannot undo what another one did elsewhere."""
    return f", with the rights{whose}: its own next run has them" if (whose := _whose(left)) else ""


def _count(left: list[Outstanding]) -> str:
    return "a change" if len(left) == 1 else f"{len(left)} changes"


def _names(names: Iterable[str]) -> str:
    found = list(names)
    more = len(found) - _NAMED
    return ", ".join(found[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _texts(undone: list[Undone]) -> str:
    return "; ".join(f"{one.what}: {one.text}" for one in undone[:_NAMED])
