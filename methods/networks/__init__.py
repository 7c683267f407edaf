"""Networks that methods train: image (B, 3, H, W) in [0, 1] to class scores."""
