# Jaccard's tables: kNN and feature statistics after every epoch, kNN with the temperature of SimCLR's loss.
_base_ = "./default_runtime.py"

custom_hooks = [
    dict(hook, interval=1) if hook["type"] == "FeatureMonitorHook" else hook for hook in _base_.custom_hooks
]
evaluation = dict(knn=dict(temperature=0.5))
