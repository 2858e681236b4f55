# One view: ImageNet's supervised augmentation at 64 px.
views = [
    dict(
        repeats=1,
        transforms=[
            dict(type="RandomResizedCrop", size=64),
            dict(type="RandomHorizontalFlip"),
        ],
    )
]
