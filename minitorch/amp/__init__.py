"""Mixed precision, as far as a CPU needs it. PyTorch: torch/amp/__init__.py."""

from .autocast import autocast, is_autocast_available
from .grad_scaler import GradScaler
