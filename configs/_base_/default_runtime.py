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
evaluation = dict(
    batch_size=512,
    knn=dict(k=200, temperature=0.1),
    # Linear and fine-tuning: TriMix; linear_aug: MoCo, whose rate on ImageNet is 30.
    linear=dict(solver="sgd", epochs=100, batch_size=256, lr=1e-3, weight_decay=1e-6, momentum=0.9),
    linear_aug=dict(
        optimizer="sgd",
        epochs=100,
        batch_size=256,
        lr=0.1,
        weight_decay=0.0,
        momentum=0.9,
        milestones=[0.6, 0.8],
        augment=[dict(type="RandomResizedCrop"), dict(type="RandomHorizontalFlip")],
    ),
    finetune=dict(
        optimizer="sgd",
        epochs=100,
        batch_size=256,
        lr=1e-3,
        weight_decay=1e-6,
        momentum=0.9,
        evaluations=10,
        augment="views",
    ),
    # Few labels: an epoch would have only a handful of steps.
    few_labels=dict(solver="lbfgs", l2=[1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
    few_labels_finetune=dict(
        optimizer="adamw", steps=1000, batch_size=64, lr=1e-3, weight_decay=1e-4, schedule="cosine"
    ),
)
