_base_ = "./moco_resnet50_1xb256-sgd-400e_stl10.py"

param_scheduler = [dict(_base_.param_scheduler[0], T_max=800)]
train_cfg = dict(max_epochs=800)
