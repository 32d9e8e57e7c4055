"""Injections: what a probe is told for each, and what became of each attempt. One module per injection."""
