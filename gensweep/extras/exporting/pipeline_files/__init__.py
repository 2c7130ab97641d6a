"""Files that are copied into pipeline folders; they import torch and diffusers, and nothing of gensweep."""
