"""The commands, one module each: parse, call, print, exit status. Heavy libraries are imported inside them."""

from __future__ import annotations

import click


class Commands(click.Group):
    """Commands in the order in which a reader needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they were defined."""
        del ctx
        return list(self.commands)
