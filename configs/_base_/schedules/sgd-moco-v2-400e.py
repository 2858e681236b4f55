_base_ = "./sgd-moco-v2-200e.py"

train_cfg = dict(max_epochs=400)
