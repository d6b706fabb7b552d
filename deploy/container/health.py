#!/opt/quantd/.venv/bin/python -I
"""Exit code 0 when the daemon of this container answers /health with 200, else 1 with the reason.

The daemon writes its address into `api.json` of the state folder. The request goes to this container only, so the
certificate is not compared with a name.
"""

import http.client
import json
import os
import ssl
import sys
from pathlib import Path

folder = Path(os.environ.get("QUANTD_STATE", "/var/lib/quantd/state"))
try:
    place = json.loads((folder / "api.json").read_text(encoding="ascii"))
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(place["host"], place["host"])
    if place["tls"]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, place["port"], timeout=9, context=context)
    else:
        connection = http.client.HTTPConnection(host, place["port"], timeout=9)
    connection.request("GET", "/health")
    response = connection.getresponse()
    body = response.read(4096)
except (OSError, ValueError, KeyError, http.client.HTTPException) as why:
    sys.exit(f"no daemon answers on {folder}: {why}")
if response.status != 200:
    sys.exit(f"/health answers {response.status}: {body.decode(errors='replace')[:400]}")
