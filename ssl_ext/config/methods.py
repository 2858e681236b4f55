"""Short names of methods: one shipped config each, for small images."""

from __future__ import annotations

TEN_K = "resnet18-w16_1xb128-{}-20e_cifar10-10k"
SUPERVISED = "resnet18-w16_1xb100-sgd-30e_cifar10-10k"
METHODS: dict[str, str] = {
    name: f"{folder}/{name}_{config}.py"
    for folder, config, names in (
        ("trimix", TEN_K.format("adam"), ["trimix"]),
        ("barlow_twins", TEN_K.format("adam"), ["barlow-twins"]),
        ("vicreg", TEN_K.format("adam"), ["vicreg"]),
        ("simclr", TEN_K.format("adam"), ["simclr"]),
        ("jaccard", TEN_K.format("adam"), ["jaccard-simclr"]),
        ("swav", TEN_K.format("adam"), ["swav"]),
        ("pirl", TEN_K.format("adam"), ["pirl-rotation", "pirl-jigsaw"]),
        ("moco", TEN_K.format("sgd"), ["moco"]),
        ("jaccard", TEN_K.format("sgd"), ["jaccard-moco"]),
        ("byol", TEN_K.format("sgd"), ["byol"]),
        ("simsiam", TEN_K.format("sgd"), ["simsiam"]),
        ("cross", TEN_K.format("sgd"), ["cross"]),
        ("tribyol", TEN_K.format("sgd"), ["tribyol"]),
        ("amix_ssl", TEN_K.format("sgd"), ["amix-i", "amix-c", "mix-moco"]),
        ("odc", "resnet18-w16_1xb128-sgd-20e_bloodmnist", ["odc"]),
        ("w_mse", "resnet18_1xb512-adam-1000e_cifar10", ["w-mse"]),
        ("amix", SUPERVISED, ["amix"]),
        ("automix", SUPERVISED, ["automix"]),
        ("mixup", SUPERVISED, ["vanilla", "mixup", "cutmix"]),
    )
    for name in names
}
METHODS["simclr-medical"] = "medical/simclr-nov_resnet18_1xb256-adamw-2000e_bloodmnist.py"
