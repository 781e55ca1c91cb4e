"""What is told of an exception."""

import pytest

from nls.errors import first_line


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no such luck"), "no such luck"),
        (RuntimeError("no such luck\nsomewhere in C++"), "no such luck"),
        (RuntimeError("\n  no such luck\n"), "no such luck"),
        (RuntimeError(), "RuntimeError"),
        (AssertionError("\n"), "AssertionError"),
    ],
)
def test_an_exception_is_told_by_its_first_line_or_its_class(error, told):
    assert first_line(error) == told
