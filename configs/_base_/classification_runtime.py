# Supervised runs: the accuracies of every prediction after each epoch; no monitors of features.
_base_ = "./default_runtime.py"

custom_hooks = [
    dict(type="RandomStateHook"),
    dict(type="ThroughputHook"),
    dict(type="ClassifierEvaluationHook"),
]
