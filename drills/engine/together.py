"""Runs drills side by side as the plan has it: a thread for each drill that runs, begun by the main thread.

The main thread only begins drills and waits, so that signals reach it. What goes wrong in a drill's thread becomes that
drill's verdict. Nothing begins once the run was stopped; what runs then ends by itself, for every drill asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from drills.engine.conflicts import Until
from drills.engine.interrupt import Interrupt
from drills.engine.result import Drill as DrillResult
from drills.engine.schedule import Plan, Planned

LOOK_SECONDS = 0.5  # for a deadline; what a drill tells is noticed at once


class Runnable(Protocol):
    """A drill as it is run."""

    def run(self, attack_over: Callable[[], None], undisturbed_since: float) -> DrillResult:
        """From beginning to end; tells when its attack is over and proven. ``undisturbed_since``: the Unix time at
        which another drill last moved what its rules read (0: none did).
        """
        ...

    def longest(self) -> float:
        """Wall seconds after which it hangs."""
        ...

    def lost(self, reason: str) -> DrillResult:
        """The result of a drill that did not come to its end."""
        ...


@dataclass(slots=True)
class _Life:
    """A drill that has begun. Instants are Unix times."""

    began: float
    longest: float
    attack_over: float | None = None
    ended: float | None = None
    result: DrillResult | None = None
    thread: threading.Thread | None = field(default=None, repr=False)

    def over(self, until: Until) -> float | None:
        """When it let others begin; None if it does not yet."""
        return self.attack_over if until is Until.ATTACK and self.attack_over is not None else self.ended


class Together:
    """The drills of one run."""

    def __init__(self, plan: Plan, drills: Mapping[str, Runnable], interrupt: Interrupt) -> None:
        """``drills`` by name, those of the plan."""
        self._plan = plan
        self._drills = drills
        self._interrupt = interrupt
        self._changed = threading.Condition()
        self._lives: dict[str, _Life] = {}

    def run(self) -> dict[str, DrillResult]:
        """Every drill, or those that had begun when the run was stopped; by name."""
        waiting = list(self._plan.drills)
        with self._changed:
            while waiting or self._running():
                if self._interrupt.stop.is_set():
                    waiting.clear()
                for one in [each for each in waiting if self._may_begin(each)]:
                    if self._may_begin(one):  # still, after those that have just begun
                        waiting.remove(one)
                        self._begin(one)
                if waiting or self._running():
                    self._changed.wait(LOOK_SECONDS)
                self._give_up()
        return {name: life.result for name, life in self._lives.items() if life.result is not None}

    def attacking(self) -> list[str]:
        """The drills that have begun and whose attack is not over."""
        with self._changed:
            return [name for name, life in self._lives.items() if life.over(Until.ATTACK) is None]

    def _running(self) -> list[str]:
        return [name for name, life in self._lives.items() if life.ended is None]

    def _may_begin(self, one: Planned) -> bool:
        over = [
            self._lives[wait.drill].over(wait.conflict.until) if wait.drill in self._lives else None
            for wait in one.waits
        ]
        attacking = self.attacking()
        rate = one.rate + sum(each.rate for each in self._plan.drills if each.drill in attacking)
        return None not in over and (rate <= self._plan.rate or not attacking)

    def _begin(self, one: Planned) -> None:
        drill = self._drills[one.drill]
        moved = [self._lives[name].over(Until.ATTACK) or 0.0 for name in one.disturbed_by if name in self._lives]
        life = self._lives[one.drill] = _Life(time.time(), drill.longest())
        life.thread = threading.Thread(
            target=self._live, args=(drill, life, max(moved, default=0.0)), name=f"drill-{one.drill}", daemon=True
        )
        life.thread.start()

    def _live(self, drill: Runnable, life: _Life, undisturbed_since: float) -> None:
        try:
            result = drill.run(lambda: self._attack_over(life), undisturbed_since)
        except Exception as error:  # noqa: BLE001 - the thread's edge: a bug becomes the drill's verdict, told as one
            result = drill.lost(f"internal error ({type(error).__name__}: {error}); this is a bug")
        self._end(life, result)

    def _attack_over(self, life: _Life) -> None:
        with self._changed:
            if life.attack_over is None:
                life.attack_over = time.time()
            self._changed.notify_all()

    def _end(self, life: _Life, result: DrillResult) -> None:
        with self._changed:
            if life.ended is None:
                life.result, life.ended = result, time.time()
            self._changed.notify_all()

    def _give_up(self) -> None:
        """A drill that hangs is left to its daemon thread: the run ends, and says so."""
        for name in self._running():
            life = self._lives[name]
            if time.time() > life.began + life.longest:
                self._interrupt.abort(f"the drill {name} hangs")
                self._end(life, self._drills[name].lost(f"it hung: it had not ended after {life.longest:.0f} s"))
