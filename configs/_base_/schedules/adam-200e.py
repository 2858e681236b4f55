# Constant learning rate: the papers with this schedule name no decay.
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3, weight_decay=1e-6))
param_scheduler = []
train_cfg = dict(by_epoch=True, max_epochs=200)
