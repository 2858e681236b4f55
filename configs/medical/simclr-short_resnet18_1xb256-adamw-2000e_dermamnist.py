_base_ = [
    "../_base_/datasets/dermamnist.py",
    "../_base_/models/simclr-medical.py",
    "../_base_/views/medical-short.py",
    "../_base_/schedules/adamw-cosine-2000e.py",
    "../_base_/medical_runtime.py",
]
