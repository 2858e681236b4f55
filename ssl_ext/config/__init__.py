"""Configs: reading and checking them, and the networks they describe."""
