"""Griffe's extension: docstrings as the source has them become Markdown that reads well on a page.

A doctest is shown as code, wherever it stands in the docstring; as plain text its brackets would be taken for links. Roles such as
``:class:`Batch``` become code, since the reference can be searched and a link to each mention would not help.
"""

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"^( *)>>> .*(?:\n(?! *\n).*)*", re.MULTILINE)
ROLE = re.compile(r":(?:class|func|data|meth|mod|attr):`~?(?:[\w.]+\.)?(\w+)`")


class Readable(griffe.Extension):
    """Rewrites the docstrings of a package once it is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Fence doctests and turn roles into code."""
        if obj.docstring:
            text = ROLE.sub(r"``\1``", obj.docstring.value)
            obj.docstring.value = DOCTEST.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)
