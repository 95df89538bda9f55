"""Attacks on what neffos-wire runs, and what they cost others: ``make hostile``.

To add an attack, write one function with one decorator in a module that ``__main__.py`` imports::

    @attack("server", "asgi")
    async def small_frames(aim: Aim) -> None:
        '''Eight clients send frames of six bytes as fast as they can.'''

The decorator names the targets, which are those of ``targets.py``: each runs in a process of its
own. The function runs in another one, until ``aim.is_over``. Meanwhile victims ask the target, and
its memory is measured. The function's name and docstring are printed. What it returns, if anything,
is what was lost or wrong, in a line. An attack on a program that ends by itself is for the target
``tool``: nobody asks it, and the function starts it with ``aim.run``.
"""
