"""docs/api.md lists every public name, as its docstring says it."""

from __future__ import annotations

import handfast
import handfast.testing
from support import api_page


def test_the_page_of_public_names_is_up_to_date() -> None:
    """The page is what the docstrings give today."""
    assert api_page.PAGE.read_text() == api_page.page(), "run `make api`"


def test_every_public_name_says_what_it_is() -> None:
    """No public name is without a docstring, nor with one that its class inherited from Python."""
    for module in (handfast, handfast.testing):
        for name in module.__all__:
            said = api_page.first_sentence(module, name)
            assert len(said) > 10, name
            assert not said.startswith(f"{name}("), name
