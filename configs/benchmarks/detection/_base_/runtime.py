_base_ = "../../../_base_/default_runtime.py"

custom_hooks = [
    dict(type="RandomStateHook"),
    dict(type="ThroughputHook"),
    dict(type="DetectionEvaluationHook"),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=1000))
log_processor = dict(by_epoch=False)
