"""TriBYOL's claim on two cores: in batches of 32 it beats BYOL; at equal epochs and at equal compute.

10,000 images of CIFAR-10, a quarter of ResNet-18's width, the poster's projector, predictor and momentum, 10
epochs in bfloat16. A step of TriBYOL has three views, one of BYOL two: 15 epochs of BYOL take as long. With
``--reference arm=byol`` the tests are those at equal epochs. A run takes 10 to 27 minutes on one busy core.
The same rows at full size: tribyol_readings.py.
"""

AXES = dict(arm=["byol", "byol-15e", "tribyol"], protocol=["knn", "linear"])
ROWS, COLUMNS = ["arm"], ["protocol"]
REFERENCE = dict(arm="byol-15e")
CONFIG = "{method}_resnet18-w16_1xb128-sgd-20e_cifar10-10k"
EVALUATE = dict(protocols="{protocol}")
SEEDS = range(5)
METRIC, UNIT = "acc", "%"
SOURCE = "Claim of the TriBYOL poster on 10,000 images of CIFAR-10"
EVERY = [
    "model.backbone.type=ResNet_CIFAR", "train_dataloader.batch_size=32", "model.momentum=0.996",
    "optim_wrapper.type=BFloat16OptimWrapper", "optim_wrapper.optimizer.lr=0.03",
    "optim_wrapper.optimizer.weight_decay=0.0004", "model.neck.num_layers=2", "model.neck.hid_channels=512",
    "model.neck.out_channels=128", "model.predictor.in_channels=128", "model.predictor.hid_channels=512",
    "model.predictor.out_channels=128",
]  # fmt: skip


def cell(arm, protocol):
    """The poster's recipe: SGD at 0.03 whatever the batch."""
    epochs = 15 if arm == "byol-15e" else 10
    length = [f"train_cfg.max_epochs={epochs}", f"param_scheduler.0.T_max={epochs}"]
    return dict(method=arm.partition("-")[0], options=EVERY + length)


PUBLISHED = "\n".join(["- -"] * 3)
