_base_ = "./sgd-moco-v2-200e.py"

param_scheduler = [dict(_base_.param_scheduler[0], T_max=400)]
train_cfg = dict(max_epochs=400)
