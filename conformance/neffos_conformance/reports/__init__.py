"""What a run found: on the terminal, and as JSON, JUnit XML, Markdown and a page."""
