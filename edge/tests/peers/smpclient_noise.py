"""Updates the service by the independent client smpclient over a line that damages what it carries.

usage: smpclient_noise.py PORT console|raw BUNDLE

Its own timeouts; what fails is begun anew, as an engineer would do, and given up after a while. Exit code 0 if the bundle
was put to use as far as the client knows.
"""

import asyncio
import sys

from smpclient import SMPClient
from smpclient.requests.image_management import ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import ResetWrite
from smpclient.transport.serial import SMPSerialRawTransport, SMPSerialTransport

ATTEMPTS = 10
LOOKS = 100
PAUSE = 0.1


async def update(port, framing, bundle):
    transport = SMPSerialTransport() if framing == "console" else SMPSerialRawTransport()
    async with SMPClient(transport, port) as client:
        async for _ in client.upload(bundle):
            pass
        for _ in range(LOOKS):
            states = await client.request(ImageStatesRead())
            stored = [image for image in states.images if image.bootable and not image.active]
            if stored:
                await client.request(ImageStatesWrite(hash=stored[0].hash, confirm=True))
                await client.request(ResetWrite())
                return
            await asyncio.sleep(PAUSE)
        raise TimeoutError("the bundle is never read back")


def main():
    with open(sys.argv[3], "rb") as file:
        bundle = file.read()
    for attempt in range(ATTEMPTS):
        try:
            asyncio.run(update(sys.argv[1], sys.argv[2], bundle))
            return 0
        except Exception as error:  # noqa: BLE001 - noise makes anything of an answer
            print(f"attempt {attempt}: {type(error).__name__}: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
