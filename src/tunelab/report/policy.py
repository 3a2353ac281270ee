"""What a report's page may do in a browser: show itself, and run the one script that was written into it."""

from __future__ import annotations

import base64
import hashlib


def content_policy(script: str = "") -> str:
    """Return a Content-Security-Policy (CSP level 3) that allows no request, no form and no script but this text.

    ``script`` is exactly what stands between the tags of an inline ``<script>``; without it no script runs at all.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"; script-src 'sha256-{digest}'" if script else ""
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'{allowed}"
