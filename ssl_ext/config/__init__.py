"""Configs: reading and checking them, the networks they describe, and published figures."""
