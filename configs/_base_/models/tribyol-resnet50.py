_base_ = "./resnet50-predictor.py"

# Three views: see ../views/crop-jitter-flip-grey-x3.py.
model = dict(
    type="TriBYOL",
    symmetric=True,
    target_update="all",
    momentum=0.996,
    momentum_schedule="constant",
)
