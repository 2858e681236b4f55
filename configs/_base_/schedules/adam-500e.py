_base_ = "./adam-200e.py"

train_cfg = dict(max_epochs=500)
