"""The app: its server, its clients, and the command ``bouquet``."""

import os

# OpenMP's threads wait for one another by spinning, for milliseconds. Where something else wants
# the same cores, that takes ten times the training's own time; on free ones a short spin is enough.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
