"""What is said of the delivery of an alert that this run itself silenced. Pure.

Suppressed by exactly our silences, on a route to a receiver that would have been told, counts as delivered. Whoever was
told all the same is said: the alert is proven, but somebody may have been woken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alerts.alertmanager import ManagedAlert
from alerts.delivery import DeliveryFacts, decide_delivery, decide_silenced
from alerts.silences import OwnSilence, Silence
from drills.engine.detection import AlertFacts
from drills.engine.pinning import matchers

Sighting = tuple[float, ManagedAlert]  # of a poll


def ours(silence: OwnSilence, known: Sequence[Silence]) -> frozenset[str]:
    """The ids of the drill's silences, among those that Alertmanager remembers."""
    return frozenset(one.id for one in known if silence.is_ours(one))


def judged(
    facts: AlertFacts,
    silence: OwnSilence,
    found: DeliveryFacts,
    sightings: Sequence[Sighting],
    *,
    notified: bool,
    reached: bool,
) -> AlertFacts:
    """The facts with what is known of the delivery. ``notified``: any receiver was; ``reached``: the one that the
    playbook names was, or would have been for all that Alertmanager says.
    """
    own = ours(silence, found.silences)
    facts = replace(facts, told=_told(sightings, notified=notified) if notified or reached else None)
    if reached:
        return facts
    hiding = sorted({one for _, managed in sightings for one in managed.silenced_by if one in own})
    stop = decide_silenced(found, own, sightings) if hiding else decide_delivery(found)
    return replace(facts, silenced_by=tuple(hiding)) if stop is None else replace(facts, undelivered=True, stop=stop)


def _told(sightings: Sequence[Sighting], *, notified: bool) -> str:
    """That somebody heard of the alert in spite of the silence, and why if that can be seen."""
    who = "a receiver was notified" if notified else "Alertmanager had it for its receiver"
    bare = next((one for _, one in sightings if not one.silenced_by), None)
    if bare is None:
        return f"{who}, although this run had silenced it"
    return f"{who}: this run's silence did not hide the alert as Alertmanager had it, {matchers(bare.labels)}"
