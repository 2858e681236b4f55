_base_ = [
    "../_base_/datasets/bloodmnist.py",
    "../_base_/models/simclr-medical.py",
    "../_base_/views/medical-nat.py",
    "../_base_/schedules/adamw-cosine-2000e.py",
    "../_base_/medical_runtime.py",
]
