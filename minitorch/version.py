"""torch.version: what this is, and which engines it was built with. PyTorch: torch/version.py."""

__version__ = "0.1.0"
cuda = None
hip = None
git_version = None
