"""Accepted values of options, in a module without imports so that ``--help`` is fast."""

# Evaluation.
PROTOCOLS = (
    "knn", "linear", "linear-aug", "finetune", "semi", "budget", "transfer", "supervised", "cluster",
    "quality",
)  # fmt: skip
DEFAULT_PROTOCOLS = ("knn", "linear")
BASELINES = ("pixels", "untrained", "supervised")
MODES = ("frozen", "unfrozen")
RECIPES = ("own", "trimix-sgd", "trimix-adam", "moco", "amix", "amix-imagenet", "barlow-twins", "thesis")
UNITS = ("image", "group")
BALANCES = ("weights", "sampling", "undersampling")
BUDGETS = (100, 250, 1000, "all")
FRACTIONS = (0.01, 0.1, 1.0)

EXPORT_FORMATS = ("torchvision", "timm", "detectron2", "safetensors", "onnx")
REPORT_LAYOUTS = ("long", "budgets")

# Figures. Mixed features (Manifold MixUp) cannot be drawn; Inter-Intra is CutMix or MixUp for any one pair.
DRAWN_POLICIES = ("mixup", "cutmix", "saliencymix", "fmix", "resizemix", "puzzlemix", "co_mixup")
LAMS = (0.1, 0.3, 0.5, 0.7, 0.9)
PROJECTIONS = ("pca", "tsne", "umap")
SWEEP_STYLES = ("lines", "map")
X_AXES = {"iteration": "step", "epoch": "epoch", "hours": "training_seconds"}
