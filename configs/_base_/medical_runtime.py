_base_ = "./default_runtime.py"

# Sets of a thousand images have epochs of seconds.
default_hooks = dict(checkpoint=dict(interval=50))
