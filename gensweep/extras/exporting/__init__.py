"""Export models as folders for diffusers, onnxruntime, plain PyTorch or any reader of safetensors."""
