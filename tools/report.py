#!/usr/bin/env python
"""Join the results of evaluations in tables (console, CSV, Markdown, LaTeX) and an HTML page."""

from _door import enter

if __name__ == "__main__":
    enter("report")
