# Five epochs of warm-up, then a cosine; T_max is unset, so that the cosine follows max_epochs.
_base_ = "./adam-200e.py"

param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=5, convert_to_iter_based=True),
]
