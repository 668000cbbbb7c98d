#!/usr/bin/env python3
"""Backtalk over UDP (PROTOCOL.md §6): Python's standard library only.

    udp.py udp://localhost:4470 studio/isPrime '{"n":97}' [idempotency-key]
"""
import json, os, random, socket, struct, sys, time
from urllib.parse import urlsplit

ASK, RESULT, FAULT, RETRY, RUNNING = 0x01, 0x81, 0x82, 0x83, 0x84
HEADER = struct.Struct("!BBBB8s")  # B7, version 1, type, length of the token, id


class Fault(Exception):
    pass


def call(sock, method, value, key=None, token=b"", credential=None):
    """Asks until it is answered: the output of the method, and the token for the next call."""
    ask = {"method": method, "input": value, **({"key": key} if key else {})}
    if credential:  # as it is, for everybody on the way to read: a server takes it from its own machine alone
        ask["token"] = credential
    body, request = json.dumps(ask).encode(), os.urandom(8)
    if len(body) > 1156:
        raise Fault({"code": "resource_exhausted", "message": "too large for a datagram"})
    sends, wait, proven_at = 0, 1.0, None
    while sends < 6:
        sock.send(HEADER.pack(0xB7, 1, ASK, len(token), request) + token + body)
        sends, proven_at = sends + 1, proven_at or (time.monotonic() if token else None)
        until = time.monotonic() + wait * random.uniform(1, 1.5)
        wait = min(wait * 2, 12)  # so that all is over within 60 s
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                data = sock.recv(2048)
            except (TimeoutError, ConnectionRefusedError):
                continue
            if len(data) < HEADER.size:
                continue
            magic, version, kind, size, answered = HEADER.unpack_from(data)
            if (magic, version, answered) != (0xB7, 1, request):
                continue  # of an earlier call, or of somebody else
            given, text = data[12:12 + size], data[12 + size:]
            if kind == RESULT:
                return json.loads(text).get("result"), token
            if kind == FAULT:
                raise Fault(json.loads(text)["fault"])
            if kind == RUNNING:
                sends, wait = 0, max(wait, 2.0)
                until = time.monotonic() + wait
            if kind == RETRY and given != token:
                since = json.loads(text)["sinceMs"] / 1000
                if proven_at and not key and time.monotonic() - proven_at >= since:
                    raise Fault({"code": "unavailable", "message": "restarted: nobody knows whether it ran"})
                token, sends, wait = given, 0, 1.0
                break
    raise Fault({"code": "unavailable", "message": "no answer came"})


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    url, method, value, *key = sys.argv[1:]
    place = urlsplit(url)
    try:
        family, _, _, _, address = socket.getaddrinfo(place.hostname, place.port or 4470, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
            print(json.dumps(call(sock, method, json.loads(value), *key, credential=os.environ.get("BACKTALK_TOKEN"))[0]))
    except Fault as fault:
        sys.exit(json.dumps(fault.args[0]))
    except (OSError, ValueError) as problem:
        sys.exit(str(problem))
