# τ_short: τ_nat without the flip and without greyscale.
views = [
    dict(
        repeats=2,
        transforms=[
            dict(type="RandomResizedCrop", scale=(0.08, 1.0)),
            dict(type="ColorJitter", brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1, p=0.8),
            dict(type="GaussianBlur", kernel_size=9, sigma=(0.1, 2.0)),
        ],
    )
]
