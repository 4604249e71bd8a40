"""Subscribes to events with the library `websockets` (PyPI) and prints what comes.

events.py URL CA TOKEN TYPE: `ready`, then a line for each message, then `closed CODE REASON`.
"""

import ssl
import sys

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

url, ca, token, kind = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
uri = url.replace("https://", "wss://") + f"/v1/sys/events/subscribe/{kind}"
try:
    with connect(
        uri, ssl=context, additional_headers={"X-Vault-Token": token}
    ) as socket:
        print("ready", flush=True)
        try:
            while True:
                print(socket.recv(), flush=True)
        except ConnectionClosed as closed:
            frame = closed.rcvd
            print("closed", frame.code if frame else "-", frame.reason if frame else "-")
except InvalidStatus as refused:
    print("refused", refused.response.status_code, refused.response.body.decode())
