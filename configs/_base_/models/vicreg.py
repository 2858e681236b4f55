_base_ = "./resnet18-projector.py"

model = dict(
    type="VICReg",
    head=dict(type="VICRegHead", invariance_weight=25.0, variance_weight=25.0, covariance_weight=1.0),
)
