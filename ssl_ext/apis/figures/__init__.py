"""Figures of configs, runs, checkpoints and results."""
