"""Configs: loading, checking, building of data sets and networks, and published figures."""
