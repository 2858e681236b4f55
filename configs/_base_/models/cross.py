_base_ = "./resnet18-predictor.py"

model = dict(type="Cross", momentum=0.996, momentum_schedule="constant")
