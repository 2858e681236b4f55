_base_ = [
    "../_base_/datasets/cifar10.py",
    "../_base_/models/swav.py",
    "../_base_/views/crop-jitter-flip-grey.py",
    "../_base_/schedules/adam-200e.py",
    "../_base_/default_runtime.py",
]

# Adam would change frozen prototypes by weight decay alone.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"head.prototypes": dict(decay_mult=0.0)}))
