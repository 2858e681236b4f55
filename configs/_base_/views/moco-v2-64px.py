# MoCo v2's two views at 64 px: blur over a tenth of the side.
views = [
    dict(
        repeats=2,
        transforms=[
            dict(type="RandomResizedCrop", scale=(0.2, 1.0)),
            dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
            dict(type="RandomGrayscale", p=0.2),
            dict(type="GaussianBlur", kernel_size=7, sigma=(0.1, 2.0), p=0.5),
            dict(type="RandomHorizontalFlip", p=0.5),
        ],
    )
]
