# Cosine from 5e-4 to 1e-5; T_max is unset, so that it follows max_epochs.
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=5e-4, weight_decay=1e-4))
param_scheduler = [dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=200)
