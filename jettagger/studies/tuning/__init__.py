"""Search for options of assignment networks: the study behind ``jettagger assignment tune``."""
