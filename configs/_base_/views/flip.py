# One view of images that the data set has cropped at random already.
views = [dict(repeats=1, transforms=[dict(type="RandomHorizontalFlip")])]
