"""A plan as lines: which drills begin when, which of them side by side, and what each of the others waits for."""

from __future__ import annotations

from collections.abc import Iterator

from drills.engine.conflicts import Until
from drills.engine.schedule import Plan, Planned, Wait
from drills.report.text import plain, seconds, span

UNTIL = {Until.ATTACK: "once its attack is over", Until.END: "once its alerts have been judged"}


def lines(plan: Plan) -> Iterator[str]:
    """The whole plan; times are those that the rules let expect. A drill's own are the playbook's, as in the file."""
    if not plan.drills:
        yield "No drill is planned."
        return
    yield from _head(plan)
    for wave in waves(plan):
        yield ""
        yield f"after {_wall(plan, wave[0].starts)}:" if wave[0].starts else "at once:"
        width = max(len(plain(one.drill)) for one in wave)
        for one in wave:
            yield f"  {plain(one.drill):<{width}}  {_durations(plan, one)}"
            for wait in plan.direct(one.drill):
                yield f"  {'':<{width}}  after {_wait(wait)}"


def waves(plan: Plan) -> list[list[Planned]]:
    """The drills that begin at the same time, together; in order."""
    found: dict[float, list[Planned]] = {}
    for one in sorted(plan.drills, key=lambda one: one.starts):
        found.setdefault(round(one.starts, 1), []).append(one)
    return list(found.values())


def _head(plan: Plan) -> Iterator[str]:
    number = len(plan.drills)
    if number == 1:
        yield f"1 drill, about {_wall(plan, plan.seconds)}."
        return
    together, alone = _wall(plan, plan.seconds), seconds(round(plan.alone))
    yield f"{number} drills, about {together}; one after another it would be {alone}."
    yield f"The longest chain: {', then '.join(map(plain, plan.chain))}."


def _durations(plan: Plan, one: Planned) -> str:
    """In the playbook's time, so that they can be found in it."""
    found = one.durations
    parts = [("at rest", found.baseline), ("attack", found.attack), ("until judged", found.resolution)]
    return ", ".join(f"{name} {span(round(value * plan.time_lapse))}" for name, value in parts if value)


def _wall(plan: Plan, value: float) -> str:
    """On the wall, and what that is in the playbook's time where its clock is another."""
    if plan.time_lapse == 1:
        return span(round(value))
    return f"{seconds(round(value))} ({span(round(value * plan.time_lapse))} of the playbook)"


def _wait(wait: Wait) -> str:
    first, *others = wait.conflict.reasons
    more = f" (and {len(others)} more)" if others else ""
    return f"{plain(wait.drill)}, {UNTIL[wait.conflict.until]}: {plain(first)}{more}"
