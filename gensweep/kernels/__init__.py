"""Operations that are slow in PyTorch, compiled if there is a C++ compiler; results agree to rounding.

A network calls `norm_act`, `same_conv` and similar functions; `active` tells which version runs.  The environment
variable GENSWEEP_KERNELS=0 switches the compiled kernels off.
"""

from gensweep.kernels.attention import attend
from gensweep.kernels.library import active
from gensweep.kernels.norm_act import norm_act
from gensweep.kernels.winograd import doubling_conv, halving_conv, same_conv, upsampling_conv

__all__ = ["active", "attend", "doubling_conv", "halving_conv", "norm_act", "same_conv", "upsampling_conv"]
