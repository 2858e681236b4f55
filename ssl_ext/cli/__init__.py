"""Command-line programs.

Each parses its arguments and checks the paths among them; only then does it import torch and the function
that does the work.
"""
