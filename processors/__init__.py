"""Ready coffea processors, imported as ``jettagger.processors``."""
