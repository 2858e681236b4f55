_base_ = "./amix-i_resnet50_1xb256-sgd-400e_stl10.py"

model = dict(type="AMixC", labels=dict(source="pseudo", num_classes=200))
