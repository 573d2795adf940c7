"""The model zoo: one folder a model (weights, config, card)."""
