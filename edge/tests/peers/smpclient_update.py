"""One update of the real service by the independent client smpclient, as a transcript.

usage: smpclient_update.py PORT console|raw BUNDLE

Prints a line of JSON for each answer: its name and its fields; bytes as hex. What takes the device a while is asked for
again until it is there.
"""

import asyncio
import json
import sys

from smpclient import SMPClient
from smpclient.exceptions import SMPBadSequence
from smpclient.requests.image_management import ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import ResetWrite
from smpclient.transport.serial import SMPSerialRawTransport, SMPSerialTransport

# Hang guards, not limits: the machine may be slow. A request that a restart swallows is repeated after the shorter one.
PATIENCE = 300.0
REPEAT = 10.0
PAUSE = 0.1


def plain(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def show(name, answer):
    fields = answer.model_dump(exclude={"header", "version", "sequence", "smp_data"})
    print(json.dumps({"name": name, "answer": type(answer).__name__, **plain(fields)}), flush=True)
    return answer


async def update(port, framing, bundle):
    transport = SMPSerialTransport() if framing == "console" else SMPSerialRawTransport()
    async with SMPClient(transport, port, timeout_s=PATIENCE) as client:

        async def until(name, holds):
            while True:
                try:
                    answer = await client.request(ImageStatesRead(), timeout_s=REPEAT)
                    if holds(answer.images):
                        return show(name, answer)
                except (TimeoutError, SMPBadSequence):
                    pass
                await asyncio.sleep(PAUSE)

        show("states", await client.request(ImageStatesRead()))
        offsets = [offset async for offset in client.upload(bundle, first_timeout_s=PATIENCE)]
        print(json.dumps({"name": "upload", "off": offsets[-1]}), flush=True)
        stored = await until("stored", lambda images: any(image.bootable for image in images))
        image_hash = bytes(stored.images[0].hash)
        show("test", await client.request(ImageStatesWrite(hash=image_hash)))
        show("reset", await client.request(ResetWrite()))
        await until("trial", lambda images: any(image.active for image in images))
        show("confirm", await client.request(ImageStatesWrite(confirm=True)))
        await until("confirmed", lambda images: any(image.confirmed for image in images))


if __name__ == "__main__":
    with open(sys.argv[3], "rb") as file:
        asyncio.run(update(sys.argv[1], sys.argv[2], file.read()))
