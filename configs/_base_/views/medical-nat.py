# SimCLR's two views for medical images, τ_nat: those of the set-up for STL-10 that the thesis adopts.
views = [
    dict(
        repeats=2,
        transforms=[
            dict(type="RandomHorizontalFlip", p=0.5),
            dict(type="RandomResizedCrop", scale=(0.08, 1.0)),
            dict(type="ColorJitter", brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1, p=0.8),
            dict(type="RandomGrayscale", p=0.2),
            dict(type="GaussianBlur", kernel_size=9, sigma=(0.1, 2.0)),
        ],
    )
]
