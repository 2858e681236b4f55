"""Benchmarks of ``tools/benchmark.py``: each module is a subcommand or a part of several."""
