"""Saving and loading models that are spread over ranks.

PyTorch: torch/distributed/checkpoint/, which also writes files from many ranks at once; here one
rank writes the whole (`get_model_state_dict`, then `minitorch.save`), or each its own part.
"""
