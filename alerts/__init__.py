"""Alert rules and all that is known about them: load, time-lapse, bounds, life cycle, why-not."""
