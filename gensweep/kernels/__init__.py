"""Operations that are slow when PyTorch composes them, compiled where there is a C++ compiler; the numbers stay.

A network calls `norm_act`, `same_conv` and the like and need not know what runs: `active` says it.  The environment
variable GENSWEEP_KERNELS=0 switches the compiled kernels off.
"""

from gensweep.kernels.attention import attend
from gensweep.kernels.library import active
from gensweep.kernels.norm_act import norm_act
from gensweep.kernels.winograd import doubling_conv, halving_conv, same_conv, upsampling_conv

__all__ = ["active", "attend", "doubling_conv", "halving_conv", "norm_act", "same_conv", "upsampling_conv"]
