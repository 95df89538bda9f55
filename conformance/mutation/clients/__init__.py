"""Clients with a seeded fault, by the subject of the requirement; and benign variants."""

from importlib import import_module
from pkgutil import iter_modules

for each in iter_modules(__path__, f"{__name__}."):
    import_module(each.name)
