"""The protocol as data: grammar, registries, requirements, state tables and their schemas."""
