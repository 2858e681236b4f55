_base_ = [
    "../_base_/datasets/retinamnist.py",
    "../_base_/models/simclr-medical.py",
    "../_base_/views/medical-nov.py",
    "../_base_/schedules/adamw-cosine-10000e.py",
    "../_base_/medical_runtime.py",
]
