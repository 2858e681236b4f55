_base_ = "./adamw-cosine-200e.py"

train_cfg = dict(max_epochs=201)
