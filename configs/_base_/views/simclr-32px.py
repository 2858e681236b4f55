# SimCLR's two views for CIFAR: colour strength 0.5, no blur.
views = [
    dict(
        repeats=2,
        transforms=[
            dict(type="RandomResizedCrop", scale=(0.08, 1.0)),
            dict(type="RandomHorizontalFlip", p=0.5),
            dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
            dict(type="RandomGrayscale", p=0.2),
        ],
    )
]
