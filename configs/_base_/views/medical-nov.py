# τ_nov, for colour images: weaker colours than τ_nat, then histogram equalisation of the luma and sharpness.
views = [
    dict(
        repeats=2,
        transforms=[
            dict(type="RandomHorizontalFlip", p=0.5),
            dict(type="RandomResizedCrop", scale=(0.08, 1.0)),
            dict(type="ColorJitter", brightness=0.2, contrast=0.2, saturation=0.2, hue=0.04, p=0.8),
            dict(type="RandomGrayscale", p=0.2),
            dict(type="GaussianBlur", kernel_size=9, sigma=(0.1, 2.0)),
            dict(type="RandomEqualize", p=0.5),
            dict(type="RandomSharpness", factor=(1.0, 10.0)),
        ],
    )
]
