"""Models that leave: folders that diffusers, onnxruntime, PyTorch alone or anybody who reads safetensors can open."""
