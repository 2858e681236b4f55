#!/usr/bin/env python
"""Pack the image files of a folder or a config in one file per split, for fast loading."""

from _door import enter

if __name__ == "__main__":
    enter("pack")
