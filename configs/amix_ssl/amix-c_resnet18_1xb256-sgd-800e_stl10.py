_base_ = "./amix-i_resnet18_1xb256-sgd-800e_stl10.py"

model = dict(type="AMixC", labels=dict(source="pseudo", num_classes=200))
