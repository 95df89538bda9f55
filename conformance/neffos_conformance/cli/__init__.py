"""The commands that test, record, inspect and explain."""
