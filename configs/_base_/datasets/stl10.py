# STL-10: pretrains on 5,000 labelled + 100,000 unlabelled images of 96 px, 10 classes.
_base_ = "./in_memory.py"

train_dataloader = dict(
    dataset=dict(type="STL10", split="train+unlabeled", data_root="data/stl10"),
)
evaluation_dataset = dict(type="STL10", data_root="data/stl10")
# Statistics of the train split, images in [0, 1].
data_preprocessor = dict(mean=[0.4467, 0.4398, 0.4066], std=[0.2603, 0.2566, 0.2713])
