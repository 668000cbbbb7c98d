"""A client of backtalk.v1 over TCP (PROTOCOL.md section 5) with nothing but Python's standard library.

python3 tcp.py tcp://localhost:4460 call   studio/isPrime '{"n": 7}'
python3 tcp.py tcp://localhost:4460 follow studio/countdown '{"from": 50, "intervalMs": 100}'
python3 tcp.py tcp://localhost:4460 attach CALL [CURSOR]
"""
import json, os, random, socket, struct, sys, time

PREFACE = b"backtalk.v1\n"


class Fault(Exception):
    """The server's answer is no: code, message, hint."""


class Connection:
    def __init__(self, address, token=None):
        host, port = address.removeprefix("tcp://").rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=45)  # the server pings after 25 s
        self.socket.sendall(PREFACE)
        if self.read(len(PREFACE)) != PREFACE:
            raise Fault(f"{address} does not speak backtalk.v1")
        if token:
            self.send(type="auth", token=token)

    def send(self, **message):
        data = json.dumps(message).encode()
        self.socket.sendall(struct.pack(">I", len(data)) + data)

    def read(self, size):
        data = bytearray()
        while len(data) < size:
            if not (piece := self.socket.recv(size - len(data))):
                raise ConnectionError("the connection has ended")
            data += piece
        return bytes(data)

    def messages(self):
        """What the server says, one message after the other."""
        while True:
            message = json.loads(self.read(struct.unpack(">I", self.read(4))[0]))
            if message["type"] == "ping":
                self.send(type="pong")
            elif message["type"] in ("close", "goaway"):
                raise ConnectionError(message["reason"])
            elif message["type"] == "fault":
                raise Fault(json.dumps(message["fault"]))
            yield message

    def call(self, method, value):
        """One input, one output. It is told apart by its id: here there is only one at a time."""
        self.send(type="call", id=1, method=method, input=value)
        return next(each["data"] for each in self.messages() if each["type"] == "result")

    def events(self, **opening):
        """The events of a call, from its opening message on, with credit for 64 at a time."""
        self.send(id=1, credit=64, **opening)
        for message in self.messages():
            if message["type"] == "opened":
                yield "opened", message["call"], None
            for event in message.get("events", ()):
                yield event["kind"], event.get("data"), event["cursor"]
            if message.get("events"):
                self.send(type="credit", id=1, n=len(message["events"]))
            if message["type"] == "done":
                return


def follow(address, token=None, call=None, cursor="start", tries=12, **opening):
    """Each event once and in order, through breaks: after one it goes on behind the last cursor. Gives up after so
    many tries in a row that brought nothing (12: about a minute)."""
    opening.setdefault("key", os.urandom(16).hex())  # the same key is the same call, when it has to be sent again
    failed = 0
    while True:
        try:
            connection = Connection(address, token)
            begin = dict(type="attach", call=call, after=cursor) if call else dict(type="call", **opening)
            for kind, data, at in connection.events(**begin):
                call = data if kind == "opened" else call
                cursor = at or cursor
                failed = 0
                yield kind, data, cursor, call
            return
        except OSError as broken:  # a ConnectionError, a refusal, or 45 s of silence
            failed += 1
            if failed == tries:
                place = f"attach {call} {cursor}" if call else "the same command"
                raise ConnectionError(f"{broken}: gave up after {tries} tries; come back with {place}") from broken
            wait = min(0.25 * 2**failed, 8) * random.uniform(0.5, 1)  # spread: others try to come back too
            print(f"{broken}: going on with {call or 'the call'} after {cursor} in {wait:.1f} s", file=sys.stderr)
            time.sleep(wait)


def main(address, what, name, *rest):
    token = os.environ.get("BACKTALK_TOKEN")
    if what == "call":
        print(json.dumps(Connection(address, token).call(name, json.loads(rest[0]))))
    else:
        begin = dict(method=name, input=json.loads(rest[0])) if what == "follow" else dict(call=name)
        for kind, data, cursor, call in follow(address, token, cursor=(rest[0] if what == "attach" and rest else "start"), **begin):
            print(json.dumps({"kind": kind, "data": data, "cursor": cursor, "call": call}), flush=True)


if __name__ == "__main__":
    least = {"call": 5, "follow": 5, "attach": 4}
    if len(sys.argv) < least.get("".join(sys.argv[2:3]), 99):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        main(*sys.argv[1:])
    except (Fault, OSError, ValueError) as problem:
        sys.exit(str(problem))
