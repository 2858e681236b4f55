_base_ = [
    "../_base_/datasets/pathmnist.py",
    "../_base_/models/simclr-medical.py",
    "../_base_/views/medical-nov.py",
    "../_base_/schedules/adamw-cosine-201e.py",
    "../_base_/medical_runtime.py",
]
