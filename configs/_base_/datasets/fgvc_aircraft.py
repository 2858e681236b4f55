# FGVC-Aircraft: 6,667 training images of 100 variants of aircraft, at 224 px; loaded as ImageNet.
_base_ = "./imagenet-crops.py"

train_dataloader = dict(
    dataset=dict(type="FGVCAircraft", data_root="data/fgvc_aircraft"),
)
evaluation_dataset = dict(type="FGVCAircraft", data_root="data/fgvc_aircraft")
