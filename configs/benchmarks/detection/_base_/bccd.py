# Blood cells (BCCD): 292 training and 72 test images, 640 x 480 px, 3 classes.
classes = ("RBC", "WBC", "Platelets")
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    collate_fn=dict(type="collate_detection"),
    dataset=dict(
        type="VOCDetection",
        data_root="data/voc_bccd",
        splits="trainval",
        classes=classes,
        keep_difficult=False,
        keep_empty=False,
        repair_boxes=True,
    ),
)
evaluation_dataset = dict(
    type="VOCDetection", data_root="data/voc_bccd", splits="test", classes=classes, repair_boxes=True
)
