"""Measurements: two ways of doing the same work, timed in turn in one process."""
