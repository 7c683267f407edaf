"""Trained predictors that leave the store: safetensors, ONNX, and what they need to be used; masks of any images."""
