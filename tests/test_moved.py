from importlib import import_module

import pytest

from ssl_ext.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_gives_the_module_at_the_new_one(old):
    assert import_module(old) is import_module(MOVED[old])
