# PASCAL VOC, 20 classes: trained on trainval 2007 + 2012 (16,551 images), tested on test 2007 (4,952).
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    collate_fn=dict(type="collate_detection"),
    dataset=dict(
        type="VOCDetection",
        data_root="data/VOCdevkit",
        splits=[("2007", "trainval"), ("2012", "trainval")],
        keep_difficult=False,
        keep_empty=False,
    ),
)
evaluation_dataset = dict(type="VOCDetection", data_root="data/VOCdevkit", splits=[("2007", "test")])
