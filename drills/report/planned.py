"""A plan as text: what would be done, in which order, with which rights, and what lacks."""

from __future__ import annotations

from collections.abc import Iterator

from drills.engine.planning import PlanResult
from drills.units import format_duration

_GRANTED = {True: "yes", False: "NO", None: "?"}


def lines(plan: PlanResult) -> Iterator[str]:
    """Lines of text, the verdict last."""
    where = "no target named" if plan.target is None else f"on {plan.target}"
    lapse = f", time-lapse {plan.time_lapse:g}" if plan.time_lapse not in (None, 1) else ""
    yield f"{plan.playbook} {where}{lapse}: {_count(len(plan.schedule), 'drill')}, about {_time(plan.seconds)}"
    yield ""
    yield f"Schedule (playbook time; one after another it would be {_time(plan.seconds_one_by_one)})"
    for one in plan.schedule:
        yield f"  {_time(one.starts):>8} to {_time(one.ends):<8}  {one.drill}"
        for key, text in one.does.items():
            yield f"    {key:<9} {text}"
        yield from (f"    {'after':<9} {wait}" for wait in one.waits)
    if len(plan.chain) > 1:
        yield f"  The longest chain: {', then '.join(plan.chain)}"
    yield ""
    yield "Objects"
    for touched in plan.objects:
        drill = f" [{touched.drill}]" if touched.drill else ""
        yield f"  {touched.action:<15} {touched.title}{drill}: {touched.undo}"
    yield ""
    yield "Rights"
    width = max((len(right.text) for right in plan.rights), default=0)
    for right in plan.rights:
        yield f"  {_GRANTED[right.granted]:<3} {right.text:<{width}}  {right.reason}"
    yield from _closing(plan)


def _closing(plan: PlanResult) -> Iterator[str]:
    if plan.notes:
        yield ""
        yield from (f"Note: {note}." for note in plan.notes)
    yield ""
    if plan.lacks:
        yield f"{_count(len(plan.lacks), 'thing')} {'lacks' if len(plan.lacks) == 1 else 'lack'}:"
        yield from (f"  {lack.subject}: {lack.text}" for lack in plan.lacks)
    elif plan.target is not None:
        yield "Nothing lacks."


def _time(seconds: float) -> str:
    return format_duration(round(seconds) * 1000)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
