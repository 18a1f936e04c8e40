from registry.admin import collections, registries, versions

__all__ = ["collections", "registries", "versions"]
