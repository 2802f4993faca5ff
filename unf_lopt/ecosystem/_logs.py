"""Leaving out log records that tell nobody anything, while something noisy runs."""

import contextlib
import logging
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def without(
    logger: logging.Logger, unwanted: Callable[[logging.LogRecord], bool]
) -> Iterator[None]:
    """Drops the unwanted records of one logger; everything is as before afterwards."""

    def keep(record: logging.LogRecord) -> bool:
        return not unwanted(record)

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
