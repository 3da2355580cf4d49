"""An archive on a port of this machine that answers as told: PORT ANSWER...

Each C-STORE is answered with the next ANSWER, a status in hexadecimal, then with 0000. "deadly:UID" ends the association
instead whenever an object of that storage class comes. Written against PS3.7 and PS3.8 with the standard library alone.
"""

import socket
import struct
import sys

ASSOCIATE, ACCEPT, DATA, RELEASE, RELEASED, ABORT = 1, 2, 4, 5, 6, 7
CONTEXT, ACCEPTED, ABSTRACT, SYNTAX, USER, LENGTH, IMPLEMENTATION = 0x20, 0x21, 0x30, 0x40, 0x50, 0x51, 0x52
EXPLICIT = b"1.2.840.10008.1.2.1"

port = int(sys.argv[1])
answers = [answer for answer in sys.argv[2:] if not answer.startswith("deadly:")]
deadly = [answer.removeprefix("deadly:").encode() for answer in sys.argv[2:] if answer.startswith("deadly:")]


def read(stream, count):
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def item(kind, body):
    return struct.pack(">BxH", kind, len(body)) + body


def items(data):
    while data:
        kind, length = struct.unpack(">BxH", data[:4])
        yield kind, data[4 : 4 + length]
        data = data[4 + length :]


def pdu(kind, body):
    return struct.pack(">BxL", kind, len(body)) + body


def accept(request):
    """Takes every context in explicit VR little endian."""
    answer = request[:68] + next(item(kind, body) for kind, body in items(request[68:]) if kind == 0x10)
    for kind, body in items(request[68:]):
        if kind == CONTEXT:
            assert any(found == (SYNTAX, EXPLICIT) for found in items(body[4:])), body
            answer += item(ACCEPTED, body[:1] + bytes(3) + item(SYNTAX, EXPLICIT))
    user = item(LENGTH, struct.pack(">L", 16384)) + item(IMPLEMENTATION, b"1.2.3.4")
    return pdu(ACCEPT, answer + item(USER, user))


def command_set(elements):
    """Group 0000 in implicit VR little endian."""
    body = b"".join(struct.pack("<HHL", 0, element, len(value)) + value for element, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def elements(data):
    found = {}
    while data:
        group, element, length = struct.unpack("<HHL", data[:8])
        assert group == 0
        found[element] = data[8 : 8 + length]
        data = data[8 + length :]
    return found


def reply(context, command, status):
    number = struct.Struct("<H").pack
    comment = b"as the test wishes" if status else b""
    answer = [(0x0002, command[0x0002]), (0x0100, number(0x8000 | struct.unpack("<H", command[0x0100])[0]))]
    answer += [(0x0120, command[0x0110]), (0x0800, number(0x0101)), (0x0900, number(status))]
    answer += [(0x0902, comment)] if comment else []
    answer += [(0x1000, command[0x1000])] if 0x1000 in command else []
    value = bytes([context, 0x03]) + command_set(answer)
    return pdu(DATA, struct.pack(">L", len(value)) + value)


def serve(stream):
    parts, command = b"", None
    while True:
        kind, length = struct.unpack(">BxL", read(stream, 6))
        body = read(stream, length)
        if kind == ASSOCIATE:
            stream.write(accept(body))
        elif kind == RELEASE:
            stream.write(pdu(RELEASED, bytes(4)))
            stream.flush()
            return
        elif kind == ABORT:
            return
        while kind == DATA and body:
            length, context, flags = struct.unpack(">LBB", body[:6])
            part, body = body[6 : 4 + length], body[4 + length :]
            is_command, is_last = flags & 1, flags & 2
            parts += part if is_command else b""
            if is_command and is_last:
                command, parts = elements(parts), b""
                if command[0x0002].rstrip(b"\0") in deadly:
                    stream.write(pdu(ABORT, bytes(4)))
                    stream.flush()
                    return
            has_data = struct.unpack("<H", command[0x0800])[0] != 0x0101 if command else True
            if is_last and command and not (is_command and has_data):
                store = struct.unpack("<H", command[0x0100])[0] == 0x0001
                status = (answers.pop(0) if answers else "0000") if store else "0000"
                if store:
                    print(command[0x1000].rstrip(b"\0").decode(), status, flush=True)
                stream.write(reply(context, command, int(status, 16)))
                command = None
        stream.flush()


server = socket.create_server(("127.0.0.1", port))
while True:
    connection, _ = server.accept()
    with connection, connection.makefile("rwb") as stream:
        try:
            serve(stream)
        except (EOFError, ConnectionError):
            pass
