_base_ = "./resnet50-predictor.py"

# The poster gives one momentum: constant, as in Cross and TriBYOL.
model = dict(type="BYOL", momentum=0.996, momentum_schedule="constant")
