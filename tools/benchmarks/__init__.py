"""Benchmarks of ``tools/benchmark.py``: each module is a subcommand or a part of several.

A subcommand has ``add_arguments(parser)`` and ``run(console, **options)``, which measures, prints and returns
the figures.
"""
