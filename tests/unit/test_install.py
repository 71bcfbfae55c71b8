"""How the environment is made from the locks."""

from requirements import install


def test_uv_is_told_where_pip_looks() -> None:
    """An index that pip is configured with is uv's as well, in uv's own words."""
    told = install._uv_environment({"index-url": "I", "find-links": "/a /b", "cert": "C"}, {})
    assert told == {"UV_DEFAULT_INDEX": "I", "UV_FIND_LINKS": "/a,/b", "SSL_CERT_FILE": "C"}


def test_any_of_several_indexes_may_serve_a_package() -> None:
    """With more than one index, uv searches them as pip does, not the first one alone."""
    told = install._uv_environment({"extra-index-url": "\nI\nJ"}, {})
    assert told == {"UV_INDEX": "I J", "UV_INDEX_STRATEGY": "unsafe-best-match"}


def test_what_is_said_to_uv_itself_stands() -> None:
    """A variable of uv's own counts more than pip's configuration."""
    told = install._uv_environment({"index-url": "I"}, {"UV_DEFAULT_INDEX": "U", "HOME": "/h"})
    assert told == {"UV_DEFAULT_INDEX": "U", "HOME": "/h"}
