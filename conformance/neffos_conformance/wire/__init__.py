"""What goes over a connection: WebSocket, raw HTTP, a relay, barriers and transcripts."""
