_base_ = "./amix-i_resnet18-w16_1xb128-sgd-20e_cifar10-10k.py"

data = dict(
    _delete_=True, type="MedMNIST", name="bloodmnist", data_root="data/medmnist", size=28, as_rgb=True
)
train_dataloader = dict(dataset=dict(data, split="train"))
evaluation_dataset = data
data_preprocessor = dict(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
