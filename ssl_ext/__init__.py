"""Self-supervised visual representation learning on MMEngine's registry."""

import warnings

from .moved import install

__version__ = "0.1.0"

# mmcv warns at import that its compiled operators are missing; they are not needed.
warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")
install()
