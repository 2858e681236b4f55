# T_max is unset, so that the cosine follows max_epochs.
optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.06, momentum=0.9, weight_decay=5e-4)
)
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=20)
