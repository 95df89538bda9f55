"""Who understands whom: every client in conversation with every server, and the table of it."""
