# ImageNet-1k as folders train/ and val/ of classes. The loader's workers decode an image once, its centre at
# 256 px; the views of 224 px are cut out of that on the device.
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="collate_batch"),
    drop_last=True,
    dataset=dict(type="FolderDataset", split="train", data_root="data/imagenet", image_size=256),
)
evaluation_dataset = dict(type="FolderDataset", data_root="data/imagenet", image_size=224)
# Statistics of the train split, images in [0, 1].
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
