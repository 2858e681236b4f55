# BYOL's two views of 224 px, also used by Barlow Twins and VICReg: one always blurred, one solarised.
crop = [
    dict(type="RandomResizedCrop", size=224, scale=(0.08, 1.0)),
    dict(type="RandomHorizontalFlip", p=0.5),
    dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type="RandomGrayscale", p=0.2),
]
blur = dict(type="GaussianBlur", kernel_size=23, sigma=(0.1, 2.0))
views = [
    dict(repeats=1, transforms=[*crop, dict(blur, p=1.0)]),
    dict(repeats=1, transforms=[*crop, dict(blur, p=0.1), dict(type="RandomSolarize", p=0.2)]),
]
del crop, blur
