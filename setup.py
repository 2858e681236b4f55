import re
from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).parent
version = re.search(r'__version__ = "(.+)"', (root / "ssl_ext" / "__init__.py").read_text())[1]
bench = ["lightly>=1.6", "kornia>=0.8"]
medical = ["pydicom>=3.0"]
export = ["timm>=1.0.10", "onnx>=1.16", "onnxruntime>=1.18", "onnxscript>=0.1"]

setup(
    name="ssl-ext",
    version=version,
    description="Self-supervised visual representation learning on MMEngine's registry",
    long_description=(root / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["ssl_ext", "ssl_ext.*"]),
    package_data={
        # In a checkout ssl_ext/.mim/configs is a link to configs/.
        "ssl_ext": ["py.typed", ".mim/model-index.yml", ".mim/configs/**/*.py"],
        "ssl_ext.apis": ["*/*.j2", "explore/*.js", "explore/*.css"],
    },
    entry_points={"console_scripts": ["ssl-ext = ssl_ext.cli.__main__:main"]},
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "onedl-mmengine>=0.10.12",
        "onedl-mmcv>=2.3.6",
        "onedl-mmpretrain>=1.3.6",
        "medmnist>=3.0",
        "numpy>=1.26",
        "scipy>=1.11",
        "scikit-learn>=1.4",
        "pillow>=10.1",
        "matplotlib>=3.8",
        "rich>=13",
        "safetensors>=0.4",
        "tensorboard>=2.15",
        "torchmetrics>=1.4",
        "jinja2>=3.1",
        "pycocotools>=2.0.7",
        "PyMaxflow>=1.3",
    ],
    extras_require={
        "bench": bench,
        "export": export,
        "medical": medical,
        "ray": ["ray>=2.9"],
        "test": [
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.5",
            "ruff>=0.6",
            "mypy>=1.11",
            *bench,
            *export,
            *medical,
        ],
        "umap": ["umap-learn>=0.5.5"],
    },
)
