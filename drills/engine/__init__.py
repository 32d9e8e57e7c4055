"""The life of a drill: phases, verdicts, journal, guards, alert poller."""
