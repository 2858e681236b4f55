# MoCo's schedule: 24,000 iterations of 16 images, the rate divided by 10 after 18,000 and 22,000.
optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4)
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(type="MultiStepLR", milestones=[18000, 22000], gamma=0.1, by_epoch=False),
]
train_cfg = dict(by_epoch=False, max_iters=24000)
