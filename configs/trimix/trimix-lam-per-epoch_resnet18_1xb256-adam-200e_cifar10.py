_base_ = "./trimix_resnet18_1xb256-adam-200e_cifar10.py"

# One mixing coefficient per epoch, as in the text around Fig. 5; Algorithm 1 draws one per step.
model = dict(lam_per="epoch")
