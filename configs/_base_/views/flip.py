# One view of images that the data set crops at random.
views = [dict(repeats=1, transforms=[dict(type="RandomHorizontalFlip")])]
