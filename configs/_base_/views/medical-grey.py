# τ_grey, for greyscale images such as OCT: τ_nov without colour jitter.
views = [
    dict(
        repeats=2,
        transforms=[
            dict(type="RandomHorizontalFlip", p=0.5),
            dict(type="RandomResizedCrop", scale=(0.08, 1.0)),
            dict(type="RandomGrayscale", p=0.2),
            dict(type="GaussianBlur", kernel_size=9, sigma=(0.1, 2.0)),
            dict(type="RandomEqualize", p=0.5),
            dict(type="RandomSharpness", factor=(1.0, 10.0)),
        ],
    )
]
