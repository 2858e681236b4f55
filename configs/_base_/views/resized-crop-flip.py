# One view of the image's own size: ImageNet's supervised augmentation.
views = [
    dict(
        repeats=1,
        transforms=[
            dict(type="RandomResizedCrop"),
            dict(type="RandomHorizontalFlip"),
        ],
    )
]
