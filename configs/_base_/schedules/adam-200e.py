# The papers that train so name no decay of the learning rate: it stays constant.
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3, weight_decay=1e-6))
param_scheduler = []
train_cfg = dict(by_epoch=True, max_epochs=200)
