"""What a run tells and leaves: console, log, ``result.json``, ``junit.xml``."""
