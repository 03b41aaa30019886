"""Ready coffea processors, imported as ``jettagger.processors``.

They only use public names of jettagger, so each can be copied and changed.
"""

from jettagger.processors.tagging import TaggingProcessor

__all__ = ["TaggingProcessor"]
