"""Networks: plain `torch.nn.Module`, each in the form of `coseg.models.base.CosegNetwork`."""
