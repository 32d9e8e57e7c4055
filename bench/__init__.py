"""How fast and how small the project is, measured beside what no such program could do without: ``python -m bench``."""
