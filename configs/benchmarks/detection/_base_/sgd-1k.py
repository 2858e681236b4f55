# A short schedule for small sets; rates divided by 10 after three quarters and nine tenths.
optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4)
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(type="MultiStepLR", milestones=[750, 900], gamma=0.1, by_epoch=False),
]
train_cfg = dict(by_epoch=False, max_iters=1000)
