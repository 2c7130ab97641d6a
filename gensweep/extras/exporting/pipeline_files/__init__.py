"""Files to copy into pipeline folders; they import torch and diffusers, not gensweep."""
