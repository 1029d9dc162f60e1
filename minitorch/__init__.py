"""minitorch: deep learning and distributed training, small enough to read."""
