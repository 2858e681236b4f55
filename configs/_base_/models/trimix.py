_base_ = "./resnet18-projector.py"

model = dict(
    type="TriMix",
    lam_per="step",
    head=dict(
        type="TriMixHead",
        redundancy_weight=5e-3,
        virtual_weight=1000.0,
        consistency_weight=200.0,
        temperature=2.0,
        feature_norm=True,
    ),
)
