"""torch.special: ops/special.py, and what else belongs there, under the names that it has there.

PyTorch: torch/special/__init__.py.
"""

from .dispatch.declare import functions
from .ops import special

_ONLY_HERE = "entr erfcx i0e i1 i1e log_ndtr ndtr ndtri xlog1py zeta"
_ALSO_HERE = """digamma erf erfc erfinv exp2 expm1 i0 log1p log_softmax logit logsumexp polygamma
round sinc softmax xlogy"""
_OTHER_NAMES = {"expit": "sigmoid", "gammaln": "lgamma", "multigammaln": "mvlgamma"}
_OTHER_NAMES |= {"psi": "digamma"}

globals().update({name: getattr(special, name) for name in _ONLY_HERE.split()})
globals().update({name: functions[name] for name in _ALSO_HERE.split()})
globals().update({name: functions[known] for name, known in _OTHER_NAMES.items()})
