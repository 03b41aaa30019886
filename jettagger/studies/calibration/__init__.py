"""From histograms of probe jets to scale factors: the study behind ``jettagger calibrate``."""
