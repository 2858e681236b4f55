# Barlow Twins on ImageNet: 0.2 for weights and 0.0048 for biases and batch norms, for batches of 256; here
# for 2,048. Biases and batch norms are excluded from LARS's adaptation and weight decay.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="LARS", lr=1.6, momentum=0.9, weight_decay=1.5e-6),
    paramwise_cfg=dict(
        custom_keys={
            name: dict(lr_mult=0.024, decay_mult=0, lars_exclude=True)
            for name in ("bias", "bn", "downsample.1")
        }
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=True, end=10, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        T_max=990,
        eta_min_ratio=1e-3,
        by_epoch=True,
        begin=10,
        end=1000,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=1000)
