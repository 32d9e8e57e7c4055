"""Whether an alert's inputs were there all the time, by the polls of a period: its targets up, its rule and the
recording rules behind it unchanged, Prometheus the same process and answering, polls without a gap. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from alerts.prometheus import LoadedRecord, LoadedRule
from drills.engine.watch import Instance, Snapshot

PATIENCE_EVALUATIONS = 2  # how long Prometheus may be silent before nothing is judged
GAP_SECONDS = 2.0  # on the wall, that a busy machine may take between two polls: what passes in them, samples tell


@dataclass(frozen=True, slots=True)
class Inputs:
    """What an alert stands on. ``rule`` is its name (None: no rule was loaded), ``records`` name the recording rules
    that it reads, ``sources`` are the targets that its series come from; ``blind`` says that some of its series never
    existed, so that any target might have had them.
    """

    rule: str | None
    sources: frozenset[Instance]
    interval: float  # of its evaluation, wall seconds
    blind: bool = False
    records: frozenset[str] = frozenset()

    @property
    def patience(self) -> float:
        """How long (wall seconds) Prometheus may fail to answer before that counts."""
        return max(1.0, PATIENCE_EVALUATIONS * self.interval)

    @property
    def gap(self) -> float:
        """How long (wall seconds) no poll may be made before that counts."""
        return max(GAP_SECONDS, self.patience)


def faults(
    snapshots: tuple[Snapshot, ...], inputs: Inputs, failed: Iterable[Instance] = (), until: float | None = None
) -> tuple[str, ...]:
    """Every reason why a period's alert cannot be judged; ``failed``: targets of which a scrape did, polled or not;
    ``until``: the Unix time up to which there must be polls (None: the last of them).
    """
    answered = [one for one in snapshots if "prometheus" not in one.problems]
    found = [*_gaps(snapshots, inputs.gap, until), *_silences(snapshots, inputs.patience)]
    found += _clock(answered, inputs.interval)
    starts = {one.process.start_time for one in answered if one.process is not None}
    if len(starts) > 1:
        found.append("Prometheus restarted during the drill")
    down = sorted(f"{job} {instance}" for job, instance in _down(answered, inputs) | {*failed})
    if down:
        found.append(f"scrape target down during the drill: {', '.join(down)}")
    found += _changes(answered, inputs)
    return tuple(found)


def _gaps(snapshots: tuple[Snapshot, ...], longest: float, until: float | None) -> list[str]:
    moments = [one.at for one in snapshots]
    if moments and until is not None:
        moments.append(until)
    worst = max((later - earlier for earlier, later in pairwise(moments)), default=0.0)
    return [f"no poll was made for {worst:.1f} s"] if worst > longest else []


def _clock(answered: list[Snapshot], interval: float) -> list[str]:
    worst = max((one.clock.certain for one in answered if one.clock is not None), default=0.0)
    if worst <= interval:
        return []
    return [f"Prometheus's clock and this one are {worst:.2f} s apart, more than one evaluation ({interval:g} s)"]


def _down(answered: list[Snapshot], inputs: Inputs) -> set[Instance]:
    """Sources that were down; where series never existed, every target that was up and went down."""
    down = {one for snapshot in answered for one in inputs.sources if not snapshot.up.get(one)}
    if inputs.blind:
        was_up: set[Instance] = set()
        for snapshot in answered:
            down |= {one for one in was_up if not snapshot.up.get(one)}
            was_up |= {one for one, up in snapshot.up.items() if up}
    return down


def _changes(answered: list[Snapshot], inputs: Inputs) -> list[str]:
    if inputs.rule is None:
        return []
    texts = {f"the rule {inputs.rule}": {_text(one, inputs.rule) for one in answered}}
    for name in sorted(inputs.records):
        texts[f"the recording rule {name}, which {inputs.rule} reads,"] = {_recorded(one, name) for one in answered}
    found = [_change(what, found) for what, found in texts.items() if len(found) > 1]
    return found or _reloads(answered, inputs)


def _reloads(answered: list[Snapshot], inputs: Inputs) -> list[str]:
    """A configuration that was loaded between two polls may have been put back before the second."""
    if not any(_evaluated_unseen(before, after, inputs) for before, after in pairwise(answered)):
        return []
    return [
        "Prometheus loaded its configuration again during the drill, and no poll shows with which text of the rule "
        f"{inputs.rule} it was evaluated meanwhile"
    ]


def _evaluated_unseen(before: Snapshot, after: Snapshot, inputs: Inputs) -> bool:
    """Whether a rule may have been evaluated with a text that neither poll saw.

    Not so where it was not evaluated between the two, and not where its last evaluation is older than the
    configuration: Prometheus replaces a group that changed, and a fresh one has none (tried with 2.42).
    """
    was, now = before.process, after.process
    if was is None or now is None or was.last_config_time == now.last_config_time:
        return False
    loaded = now.last_config_time or 0.0  # in whole seconds, cut
    last, newest = list(_evaluations(before, inputs)), list(_evaluations(after, inputs))
    unevaluated = None not in newest and last == newest
    return not unevaluated and any(one is None or one >= loaded for one in newest)


def _evaluations(snapshot: Snapshot, inputs: Inputs) -> Iterator[float | None]:
    """When the rule, and those that it reads, were last evaluated."""
    each: Iterable[LoadedRule | LoadedRecord] = (*snapshot.rules, *snapshot.records)
    names = {inputs.rule, *inputs.records}
    return (one.last_evaluation for one in each if one.name in names)


def _change(what: str, texts: set[frozenset[tuple[object, ...]]]) -> str:
    if frozenset() in texts:
        return f"{what} was not loaded all the time during the drill"
    return f"{what} was changed during the drill"


def _recorded(snapshot: Snapshot, name: str) -> frozenset[tuple[object, ...]]:
    return frozenset(one.text for one in snapshot.records if one.name == name)


def _silences(snapshots: tuple[Snapshot, ...], patience: float) -> list[str]:
    since: float | None = None
    silent: str | None = None
    for one in snapshots:
        if "prometheus" not in one.problems:
            since = None
        elif since is None:
            since = one.at
        elif one.at - since > patience:
            silent = one.problems["prometheus"]
    if since is not None:
        return [f"Prometheus no longer answers: {snapshots[-1].problems['prometheus']}"]
    if silent is not None:
        return [f"Prometheus did not answer during the drill: {silent}"]
    return [] if snapshots else ["no poll was made"]


def _text(snapshot: Snapshot, rule: str) -> frozenset[tuple[object, ...]]:
    return frozenset(
        (one.group, one.query, one.for_ms, one.keep_firing_ms, tuple(sorted(one.labels.items())))
        for one in snapshot.rules_named(rule)
    )
