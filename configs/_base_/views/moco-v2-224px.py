# MoCo v2's two views of 224 px.
views = [
    dict(
        repeats=2,
        transforms=[
            dict(type="RandomResizedCrop", size=224, scale=(0.2, 1.0)),
            dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
            dict(type="RandomGrayscale", p=0.2),
            dict(type="GaussianBlur", kernel_size=23, sigma=(0.1, 2.0), p=0.5),
            dict(type="RandomHorizontalFlip", p=0.5),
        ],
    )
]
