_base_ = [
    "../_base_/datasets/tissuemnist.py",
    "../_base_/models/simclr-medical.py",
    "../_base_/views/medical-grey.py",
    "../_base_/schedules/adamw-cosine-200e.py",
    "../_base_/medical_runtime.py",
]
