_base_ = "./resnet18-projector.py"

model = dict(type="SimCLR", head=dict(type="SimCLRHead", temperature=0.5))
