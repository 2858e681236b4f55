_base_ = "./resnet18-projector.py"

# Prototypes are frozen for the first epoch of CIFAR-10 (195 steps of 256 images).
model = dict(
    type="SwAV",
    freeze_prototypes_steps=195,
    head=dict(
        type="SwAVHead",
        in_channels=1024,
        num_prototypes=512,
        temperature=0.1,
        epsilon=0.05,
        sinkhorn_iterations=3,
    ),
)
