"""What a worker knows of uvicorn by its words alone."""

import inspect

from uvicorn.protocols.http import httptools_impl

from api.http.worker import CUT_STREAM


def test_uvicorn_logs_a_cut_response_in_these_words() -> None:
    """The worker drops that record by its text: nothing else tells it from others."""
    assert f'"{CUT_STREAM}"' in inspect.getsource(httptools_impl)
