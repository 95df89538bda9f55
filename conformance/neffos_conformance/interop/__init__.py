"""The compatibility matrix: every client in conversation with every server."""
