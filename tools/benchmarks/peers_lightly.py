"""lightly as a contender: a loop in plain PyTorch, as in its examples.

Its transforms support all settings of crop, flip, jitter and grayscale; they also draw random numbers for
operations of probability 0 (rotation, vertical flip, blur). The EMA momentum, which increases per epoch in
some examples, is constant here, which does not change the time. MoCo's example does not shuffle.
"""

import copy
from collections.abc import Callable

import torch
from lightly.loss import BarlowTwinsLoss, NegativeCosineSimilarity, NTXentLoss
from lightly.models.modules.heads import ProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms import BYOLTransform, MoCoV2Transform, SimCLRTransform
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from mmengine.device import get_device
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ssl_ext.registry import MODELS

from .workload import Contender, Use, Workload, build_optimizer

NAME = "lightly"


def start_lightly(work: Workload, use: Use) -> None:
    """Call ``use`` with the contender of this loop."""
    device = get_device()
    model = ALGORITHMS[work.model.type](work.model).to(device)
    loader = DataLoader(PillowImages(work, _transform(work)), shuffle=True, **work.loader_settings())
    optimizer = build_optimizer(work.config, model)

    def epoch() -> float:
        total = torch.zeros((), device=device)
        model.train()
        for (x0, x1), _ in loader:
            model.update_ema()
            loss = model(x0.to(device), x1.to(device))
            total += loss.detach()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return float(total / len(loader))

    use(Contender(NAME, epoch, model, optimizer, loader))


class PillowImages(Dataset):
    """Images in memory, returned as single Pillow images, as by torchvision's CIFAR-10."""

    def __init__(self, work: Workload, transform: Callable[[Image.Image], list[Tensor]]) -> None:
        (self.images, self.labels), self.transform = work.data(), transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[list[Tensor], int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def _transform(work: Workload) -> Callable[[Image.Image], list[Tensor]]:
    crop, flip, jitter, grey = work.transforms.values()
    settings = dict(
        input_size=work.size,
        cj_prob=jitter.get("p", 1.0),
        cj_strength=1.0,
        cj_bright=jitter.get("brightness", 0.0),
        cj_contrast=jitter.get("contrast", 0.0),
        cj_sat=jitter.get("saturation", 0.0),
        cj_hue=jitter.get("hue", 0.0),
        min_scale=crop["scale"][0],
        random_gray_scale=grey["p"],
        gaussian_blur=0.0,
        hf_prob=flip["p"],
        normalize={key: list(work.config.data_preprocessor[key]) for key in ("mean", "std")},
    )
    if work.model.type == "BYOL":
        views = BYOLView1Transform(**settings), BYOLView2Transform(**settings, solarization_prob=0.0)
        return BYOLTransform(*views)
    return (MoCoV2Transform if work.model.type == "MoCo" else SimCLRTransform)(**settings)


class Features(nn.Module):
    """Backbone of MMPretrain with pooling, instead of the examples' torchvision network."""

    def __init__(self, backbone: dict) -> None:
        super().__init__()
        self.net = MODELS.build(backbone)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, C, 1, 1)."""
        return self.pool(self.net(x)[-1])


def _head(neck: dict) -> ProjectionHead:
    """The layers of MMPretrain's ``NonLinearNeck``."""
    hidden = neck["hid_channels"]
    widths = [neck["in_channels"], *[hidden] * (neck["num_layers"] - 1), neck["out_channels"]]
    *first, last = zip(widths[:-1], widths[1:], strict=True)
    blocks = [(*pair, nn.BatchNorm1d(pair[1]), nn.ReLU()) for pair in first]
    return ProjectionHead([*blocks, (*last, None, None, False)])


class TwoViews(nn.Module):
    """One network and a loss of two projections; the forward pass returns the loss."""

    def __init__(self, settings: dict, criterion: nn.Module) -> None:
        super().__init__()
        self.backbone = Features(settings["backbone"])
        self.projection_head = _head(settings["neck"])
        self.criterion = criterion

    def project(self, x: Tensor) -> Tensor:
        """Projections (N, D)."""
        return self.projection_head(self.backbone(x).flatten(start_dim=1))

    def forward(self, x0: Tensor, x1: Tensor) -> Tensor:
        """Loss of two views (N, C, H, W)."""
        return self.criterion(self.project(x0), self.project(x1))

    def update_ema(self) -> None:
        """Do nothing: there are no EMA networks."""


def _simclr(settings: dict) -> TwoViews:
    return TwoViews(settings, NTXentLoss(temperature=settings["head"]["temperature"]))


def _barlow_twins(settings: dict) -> TwoViews:
    return TwoViews(settings, BarlowTwinsLoss(lambda_param=settings["head"]["redundancy_weight"]))


class WithEMA(TwoViews):
    """A network with EMA copies of its backbone and projection head."""

    def __init__(self, settings: dict, criterion: nn.Module) -> None:
        super().__init__(settings, criterion)
        self.momentum = settings["momentum"]
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)

    def project_momentum(self, x: Tensor) -> Tensor:
        """Projections (N, D) of the EMA networks."""
        return self.projection_head_momentum(self.backbone_momentum(x).flatten(start_dim=1)).detach()

    def update_ema(self) -> None:
        """Update the EMA networks."""
        update_momentum(self.backbone, self.backbone_momentum, m=self.momentum)
        update_momentum(self.projection_head, self.projection_head_momentum, m=self.momentum)


class MoCo(WithEMA):
    """MoCo, whose loss holds the queue."""

    def __init__(self, settings: dict) -> None:
        bank = (settings["queue_size"], settings["neck"]["out_channels"])
        temperature = settings["head"]["temperature"]
        super().__init__(settings, NTXentLoss(temperature=temperature, memory_bank_size=bank))

    def forward(self, x0: Tensor, x1: Tensor) -> Tensor:
        """Loss of a query view and a key view (N, C, H, W)."""
        return self.criterion(self.project(x0), self.project_momentum(x1))


class BYOL(WithEMA):
    """BYOL with half the sum of two negative cosines."""

    def __init__(self, settings: dict) -> None:
        super().__init__(settings, NegativeCosineSimilarity())
        self.prediction_head = _head(settings["predictor"])

    def forward(self, x0: Tensor, x1: Tensor) -> Tensor:
        """Loss of two views (N, C, H, W)."""
        p0, z0 = self.prediction_head(self.project(x0)), self.project_momentum(x0)
        p1, z1 = self.prediction_head(self.project(x1)), self.project_momentum(x1)
        return 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))


ALGORITHMS = {"SimCLR": _simclr, "BarlowTwins": _barlow_twins, "MoCo": MoCo, "BYOL": BYOL}
