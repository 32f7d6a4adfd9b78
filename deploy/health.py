"""Answer, by exit code, whether the server in this container is up: 0, or 1 and a line that says why not."""

import http.client
import os
import ssl
import sys

PATIENCE_S = 4


def main() -> int:
    """Ask /health at the port that the environment names, over TLS if it names a certificate."""
    port = int(os.environ.get("VOXSTACK_SERVE_PORT") or 8000)
    try:
        if os.environ.get("VOXSTACK_SERVE_TLS_CERT"):
            # Who asks is inside the container: whose name the certificate has is no question here.
            trusting = ssl._create_unverified_context()  # noqa: S323, SLF001
            connection = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE_S, context=trusting)
        else:
            connection = http.client.HTTPConnection("localhost", port, timeout=PATIENCE_S)
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"health: port {port}: {error}")
        return 1
    if status != http.client.OK:
        print(f"health: port {port}: got status {status}, want 200")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
