_base_ = "./resnet18-predictor.py"

# A bottleneck of a quarter of the width in the predictor, as in the paper.
model = dict(type="SimSiam", predictor=dict(hid_channels=256))
