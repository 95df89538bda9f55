"""The neffos protocol as data."""
