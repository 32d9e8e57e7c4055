"""What every publication shares: it hears that a run began and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from drills.engine.events import Event, RunFinished, RunStarted
from drills.engine.result import Result
from drills.engine.rights import acted_in
from drills.errors import DrillsError
from drills.playbook import Playbook


@dataclass(frozen=True, slots=True)
class Announced:
    """A run that is about to act: who asked where, and on which namespaces it acts."""

    run: str
    playbook: str
    target: str
    drills: tuple[str, ...]
    namespaces: tuple[str, ...]


class Publication(Protocol):
    """One place that results go to. Both may raise a DrillsError with one sentence."""

    def started(self, run: Announced) -> None:
        """Before anything is made."""
        ...

    def finished(self, run: Announced, result: Result) -> None:
        """After everything was put back."""
        ...

    def close(self) -> None:
        """After the last run of the command."""
        ...


class Publisher:
    """Tells every publication what the engine tells; ``problem`` hears of each that failed, in one sentence."""

    def __init__(self, publications: Sequence[Publication], problem: Callable[[str], None]) -> None:
        self.failed = False
        self._publications = publications
        self._problem = problem
        self._run: Announced | None = None

    def hear(self, event: Event, playbook: Playbook) -> None:
        """An event of a run of this playbook."""
        match event:
            case RunStarted():
                self._run = run = Announced(event.run, event.playbook, event.target, event.drills, acted_in(playbook))
                self._each(lambda one: one.started(run))
            case RunFinished() if self._run is not None:
                begun, result = self._run, event.result
                self._each(lambda one: one.finished(begun, result))

    def close(self) -> None:
        """After the last run."""
        self._each(lambda one: one.close())

    def _each(self, tell: Callable[[Publication], None]) -> None:
        for one in self._publications:
            try:
                tell(one)
            except DrillsError as error:
                self.failed = True
                self._problem(str(error))
