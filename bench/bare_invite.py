"""Sends nothing but INVITEs and waits for each 180: `python -m bench.bare_invite PORT COUNT`.

Prints the seconds from each INVITE to its first provisional answer as a JSON list.
"""

import json
import socket
import sys
import time

REQUEST = (
    "INVITE sip:agent@127.0.0.1:{to} SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bK{number}\r\n"
    "From: <sip:bare@127.0.0.1:{own}>;tag={number}\r\n"
    "To: <sip:agent@127.0.0.1:{to}>\r\n"
    "Call-ID: bare-{number}\r\n"
    "CSeq: 1 INVITE\r\n"
    "Contact: <sip:bare@127.0.0.1:{own}>\r\n"
    "Max-Forwards: 70\r\n"
    "Content-Length: 0\r\n\r\n"
)
PAUSE_S = 0.02


def main(to: int, count: int) -> None:
    """Measure one INVITE after the other."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    peer.settimeout(2)
    own, took = peer.getsockname()[1], []
    for number in range(count):
        request = REQUEST.format(to=to, own=own, number=number).encode()
        begun = time.perf_counter()
        peer.sendto(request, ("127.0.0.1", to))
        peer.recv(4096)  # 180
        took.append(time.perf_counter() - begun)
        peer.recv(4096)  # 603
        time.sleep(PAUSE_S)
    sys.stdout.write(json.dumps(took) + "\n")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]))
