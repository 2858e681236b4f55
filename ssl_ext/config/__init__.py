"""Reading configs, and the published figures that results are compared with."""
