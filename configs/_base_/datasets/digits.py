# scikit-learn's bundled digits: 1,078 training images enlarged to 32 px, no download.
_base_ = "./in_memory.py"

train_dataloader = dict(
    dataset=dict(type="Digits", split="train", image_size=32),
)
evaluation_dataset = dict(type="Digits", image_size=32)
# Statistics of the train split, images in [0, 1].
data_preprocessor = dict(mean=[0.3113, 0.3113, 0.3113], std=[0.3560, 0.3560, 0.3560])
