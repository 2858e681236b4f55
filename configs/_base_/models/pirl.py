_base_ = "./resnet18-projector.py"

# One view: see ../views/crop-jitter-flip-grey-x1.py.
model = dict(
    type="PIRL",
    pretext="jigsaw",
    bank_momentum=0.5,
    head=dict(type="PIRLHead", temperature=0.07, weight=0.5, num_negatives=4096),
)
