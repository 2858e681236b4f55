_base_ = "./trimix_resnet18_1xb256-adam-200e_cifar10.py"

# One mixing coefficient an epoch, as the text around Fig. 5 has it; Algorithm 1 draws one a step.
model = dict(lam_per="epoch")
