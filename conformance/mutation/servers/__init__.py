"""Servers, each with one fault, by the family of the requirement that it violates."""

from importlib import import_module
from pkgutil import iter_modules

for each in iter_modules(__path__, f"{__name__}."):
    import_module(each.name)
