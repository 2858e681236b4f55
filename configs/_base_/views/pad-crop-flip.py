# One view of the image's own size: CIFAR's supervised augmentation.
views = [
    dict(
        repeats=1,
        transforms=[
            dict(type="RandomCrop", padding=4),
            dict(type="RandomHorizontalFlip"),
        ],
    )
]
