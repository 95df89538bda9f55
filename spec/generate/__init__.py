"""What the specification site is made of beside its hand-written pages.

The hook ``spec/hooks.py`` calls this package while mkdocs builds the site. It turns what stands in
``protocol/``, in the codec's vectors and in the recordings into Markdown and pictures, and holds
the built site to its rules. It writes no rule of the protocol itself, and nothing that runs
imports it.
"""
