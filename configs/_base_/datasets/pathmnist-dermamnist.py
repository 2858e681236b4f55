# PathMNIST and DermaMNIST together, 97,003 training images, 28 px; evaluated on the skin lesions.
_base_ = "./dermamnist.py"

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="JoinedDataset",
        datasets=[
            dict(type="MedMNIST", split="train", name=name, data_root="data/medmnist", size=28, as_rgb=True)
            for name in ("pathmnist", "dermamnist")
        ],
    ),
)
