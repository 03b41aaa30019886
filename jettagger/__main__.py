"""``python -m jettagger`` runs the command ``jettagger``."""

import sys

from jettagger.cli import main

sys.exit(main())
