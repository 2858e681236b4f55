# One view: CIFAR's supervised augmentation.
views = [
    dict(
        repeats=1,
        transforms=[
            dict(type="RandomCrop", size=32, padding=4),
            dict(type="RandomHorizontalFlip"),
        ],
    )
]
