"""The pages of registries, collections and versions."""
