# SimCLR's two views for ImageNet, at 64 px: colour strength 1, blur over a tenth of the side.
views = [
    dict(
        repeats=2,
        transforms=[
            dict(type="RandomResizedCrop", scale=(0.08, 1.0)),
            dict(type="RandomHorizontalFlip", p=0.5),
            dict(type="ColorJitter", brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8),
            dict(type="RandomGrayscale", p=0.2),
            dict(type="GaussianBlur", kernel_size=7, sigma=(0.1, 2.0), p=0.5),
        ],
    )
]
