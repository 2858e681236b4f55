"""Self-supervised visual representation learning on MMEngine's registry."""

import warnings

from .moved import install

__version__ = "0.1.0"

# mmcv tells at import that its compiled operators are absent; nothing here needs them.
warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")
install()
