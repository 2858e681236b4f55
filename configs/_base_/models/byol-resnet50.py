_base_ = "./resnet50-predictor.py"

# The poster names one momentum: it stays constant, as in Cross and TriBYOL.
model = dict(type="BYOL", momentum=0.996, momentum_schedule="constant")
