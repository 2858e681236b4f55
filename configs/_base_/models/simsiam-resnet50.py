_base_ = "./resnet50-predictor.py"

model = dict(type="SimSiam")
