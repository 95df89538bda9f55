"""The conformance application on the reference server, and the driver of the reference client."""
