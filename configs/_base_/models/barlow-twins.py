_base_ = "./resnet18-projector.py"

model = dict(type="BarlowTwins", head=dict(type="BarlowTwinsHead", redundancy_weight=5e-3))
