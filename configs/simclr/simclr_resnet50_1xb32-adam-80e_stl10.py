_base_ = "./simclr_resnet50_1xb128-adam-80e_stl10.py"

train_dataloader = dict(batch_size=32)
