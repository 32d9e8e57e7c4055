"""``python -m drills`` is the command ``drills``."""

from drills.cli import main

main()
