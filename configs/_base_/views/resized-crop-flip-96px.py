# One view: ImageNet's supervised augmentation at 96 px.
views = [
    dict(
        repeats=1,
        transforms=[
            dict(type="RandomResizedCrop", size=96),
            dict(type="RandomHorizontalFlip"),
        ],
    )
]
