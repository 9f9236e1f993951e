"""Names of the arrays beside a client's own model, the same on server and clients."""

from __future__ import annotations

SHARED, PERSONAL = "shared.", "personal."
A_KEY, B_KEY = f"{SHARED}A", f"{SHARED}B"
WEIGHT_KEY, BIAS_KEY = f"{SHARED}weight", f"{SHARED}bias"
PROJECTION_KEY, W_KEY = f"{PERSONAL}projection", f"{PERSONAL}W_h"
