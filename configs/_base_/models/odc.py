_base_ = "./resnet18-projector.py"

# Neck 512-256, 200 clusters of its outputs. One view: see ../views/crop-jitter-flip-grey-x1.py.
model = dict(
    type="ODC",
    neck=dict(hid_channels=512, out_channels=256, num_layers=2),
    head=dict(type="ODCHead", in_channels=256, num_clusters=200),
)
