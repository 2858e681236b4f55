# Three views of the same kind.
_base_ = "./crop-jitter-flip-grey.py"

views = [dict(_base_.views[0], repeats=3)]
