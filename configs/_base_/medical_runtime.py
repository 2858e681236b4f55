# Downstream training of "Evaluating SimCLR for Medical Image Classification" (Table 3.2), on clean images and
# for every number of labels. The number of epochs is not given: 100.
_base_ = "./default_runtime.py"

# Sets of a thousand images have epochs of seconds.
default_hooks = dict(checkpoint=dict(interval=50))
evaluation = dict(
    linear=dict(
        _delete_=True,
        solver="adamw",
        epochs=100,
        batch_size=64,
        lr=1e-3,
        weight_decay=1e-4,
        milestones=[0.6, 0.8],
    ),
    few_labels=dict(
        _delete_=True,
        solver="adamw",
        epochs=100,
        batch_size=64,
        lr=1e-3,
        weight_decay=1e-4,
        milestones=[0.6, 0.8],
    ),
    finetune=dict(
        _delete_=True,
        optimizer="adam",
        epochs=100,
        batch_size=128,
        lr=1e-3,
        weight_decay=0.0,
        evaluations=10,
        augment=None,
    ),
    # In epochs, as no steps are given.
    few_labels_finetune=dict(
        _delete_=True,
        optimizer="adam",
        steps=None,
        epochs=100,
        batch_size=128,
        lr=1e-3,
        weight_decay=0.0,
        schedule="constant",
        evaluations=10,
        augment=None,
    ),
)
