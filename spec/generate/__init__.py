"""The generated content of the specification site.

The hook ``spec/hooks.py`` calls this package while mkdocs builds the site. The package turns the
data of ``protocol/``, the codec's vectors and the recordings into Markdown and pictures, and checks
the built site. It contains no requirement itself.
"""
