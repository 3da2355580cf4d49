"""An upload by the independent client smpclient, for the bench.

usage: smpclient_upload.py PORT console|raw FILE
"""

import asyncio
import sys

from smpclient import SMPClient
from smpclient.transport.serial import SMPSerialRawTransport, SMPSerialTransport


async def upload(port, framing, image):
    transport = SMPSerialTransport() if framing == "console" else SMPSerialRawTransport()
    async with SMPClient(transport, port, timeout_s=60.0) as client:
        async for _ in client.upload(image):
            pass


if __name__ == "__main__":
    with open(sys.argv[3], "rb") as file:
        asyncio.run(upload(sys.argv[1], sys.argv[2], file.read()))
