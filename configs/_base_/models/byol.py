_base_ = "./resnet18-predictor.py"

model = dict(type="BYOL", momentum=0.996, momentum_schedule="cosine")
