"""TCP attempts: open a connection, and close it without a word."""

from __future__ import annotations

from drills.probe.attempt import Attempt, Steps


class TcpAttempt(Attempt):
    """A connection that stands ends in the phase ``connected``."""

    def steps(self) -> Steps:
        """Connect."""
        yield from self.connect()
        self.enter("connected")
