# kNN and feature statistics after every epoch.
_base_ = "./default_runtime.py"

custom_hooks = [
    dict(hook, interval=1) if hook["type"] == "FeatureMonitorHook" else hook for hook in _base_.custom_hooks
]
