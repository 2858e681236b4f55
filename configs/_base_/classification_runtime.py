# Supervised runs: accuracy of every prediction after each epoch, without feature monitors.
_base_ = "./default_runtime.py"

custom_hooks = [
    dict(type="RandomStateHook"),
    dict(type="ThroughputHook"),
    dict(type="ClassifierEvaluationHook"),
]
