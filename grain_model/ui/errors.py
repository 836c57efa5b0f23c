"""Errors as messages, never a traceback: on the page, and to programs."""

from __future__ import annotations

import functools
import html
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import gradio as gr
from gradio.utils import get_upload_folder

from ..errors import GrainError

P = ParamSpec("P")
T = TypeVar("T")

UNFORESEEN = (
    "The server failed at this ({}), which it should not. "
    "Try again, perhaps with a smaller picture; if it fails again, tell the owner of this page."
)


def clear_errors(function: Callable[P, T], *, as_html: bool = True) -> Callable[P, T]:
    """Turn errors into a message; what the project did not foresee goes to the server's log as well.

    Args:
        function: What may raise them.
        as_html: The message is for the page, which takes it for HTML; otherwise it is plain text, for programs.

    Returns:
        The same function, or generator, but for its errors.
    """

    @contextmanager
    def told() -> Iterator[None]:
        try:
            yield
        except GrainError as error:
            # Visitors know their file by its name, not by its place on the server.
            message = re.sub(re.escape(get_upload_folder()) + r"/\w+/", "", str(error))
            message = html.escape(message) if as_html else message
            raise gr.Error(message, duration=None, title="That did not work", print_exception=False) from error
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error(UNFORESEEN.format(type(error).__name__), duration=None, title="That did not work") from error

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
            with told():
                yield from function(*args, **kwargs)

    else:

        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
            with told():
                return function(*args, **kwargs)

    return wrapped
