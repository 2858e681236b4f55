_base_ = [
    "../_base_/datasets/cifar10.py",
    "../_base_/models/simclr.py",
    "../_base_/views/crop-jitter-flip-grey.py",
    "../_base_/schedules/adamw-warmup-200e.py",
    "../_base_/default_runtime.py",
]

# ViT-S with patches of 4 px: 64 tokens of an image of 32 px. The projector takes its 384 features.
model = dict(
    backbone=dict(_delete_=True, type="VisionTransformer", arch="deit-small", img_size=32, patch_size=4)
)
