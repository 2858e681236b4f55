# Loader for images held in memory: a batch is one index operation, so no worker processes.
train_dataloader = dict(
    batch_size=256,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="collate_batch"),
    drop_last=True,
)
