default_scope = "ssl_ext"
randomness = dict(seed=0)
channels_last = True
activation_checkpointing = False
env_cfg = dict(cudnn_benchmark=True, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0))
default_hooks = dict(
    runtime_info=dict(type="TrainLogHook"),
    timer=dict(type="IterTimerHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    logger=dict(type="LoggerHook", interval=10),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", interval=10, max_keep_ckpts=2),
)
custom_hooks = [
    dict(type="RandomStateHook"),
    dict(type="ThroughputHook"),
    dict(type="OnlineProbeHook"),
    dict(type="FeatureMonitorHook", interval=10),
    dict(type="ValidationLossHook", interval=10),
]
visualizer = dict(
    type="Visualizer",
    vis_backends=[dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")],
)
log_processor = dict(by_epoch=True)
log_level = "INFO"
# The recipes of the protocols: ssl_ext/config/recipes.py.
evaluation = dict(batch_size=512)
