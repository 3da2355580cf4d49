"""One session of the independent client smpclient with a simulated device, as a transcript.

usage: smpclient_session.py PORT console|raw IMAGE

Prints a line of JSON for each answer: its name and its fields; bytes as hex. Its models refuse any key that SMP does
not define, so every line is also a check of the answer's form.
"""

import asyncio
import json
import sys

from smp import header as smphdr
from smpclient import SMPClient
from smpclient.requests.file_management import (
    FileClose, FileDownload, FileHashChecksum, FileStatus, FileUpload, SupportedFileHashChecksumTypes,
)
from smpclient.requests.image_management import ImageErase, ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import (
    DateTimeRead, DateTimeWrite, EchoWrite, MCUMgrParametersRead, OSApplicationInfoRead, ResetWrite, TaskStatisticsRead,
)
from smpclient.requests.shell_management import Execute
from smpclient.requests.statistics_management import GroupData, ListOfGroups
from smpclient.transport.serial import SMPSerialRawTransport, SMPSerialTransport

# A hang guard, not a limit: the machine may be slow.
PATIENCE = 300.0


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


async def session(port, framing, image):
    transport = SMPSerialTransport() if framing == "console" else SMPSerialRawTransport()
    async with SMPClient(transport, port, timeout_s=PATIENCE) as client:

        async def ask(name, request):
            return show(name, await client.request(request))

        await ask("echo", EchoWrite(d="hello ä\n"))
        await ask("echo v1", EchoWrite(d="hello", version=smphdr.Version.V1))
        await ask("parameters", MCUMgrParametersRead())
        await ask("information", OSApplicationInfoRead(format="so"))
        await ask("information x", OSApplicationInfoRead(format="x"))
        await ask("clock unset", DateTimeRead())
        await ask("set clock", DateTimeWrite(datetime="2026-01-31T23:59:59.5"))
        await ask("clock", DateTimeRead())
        await ask("tasks", TaskStatisticsRead())
        await ask("shell", Execute(argv=["reboot"]))
        await ask("states", ImageStatesRead())
        offsets = [offset async for offset in client.upload(image, first_timeout_s=PATIENCE)]
        steps = sorted({after - before for before, after in zip(offsets[:-2], offsets[1:-1])})
        print(json.dumps({"name": "upload", "off": offsets[-1], "requests": len(offsets), "steps": steps}), flush=True)
        again = [offset async for offset in client.upload(image, first_timeout_s=PATIENCE)]
        print(json.dumps({"name": "upload again", "offsets": again}), flush=True)
        stored = await ask("stored", ImageStatesRead())
        image_hash = stored.images[-1].hash
        await ask("test", ImageStatesWrite(hash=bytes(image_hash)))
        await ask("test unknown", ImageStatesWrite(hash=bytes(32)))
        await ask("test unknown v1", ImageStatesWrite(hash=bytes(32), version=smphdr.Version.V1))
        await ask("erase pending", ImageErase(slot=1))
        await ask("reset", ResetWrite())
        await ask("trial", ImageStatesRead())
        await ask("confirm", ImageStatesWrite(confirm=True))
        await ask("erase", ImageErase(slot=1))
        await ask("after erase", ImageStatesRead())
        await ask("statistics", ListOfGroups())
        await ask("link", GroupData(name="link"))
        await ask("no statistics", GroupData(name="nothing"))
        log = await client.download_file("logs/service.log")
        print(json.dumps({"name": "log", "length": len(log), "begin": log[:8].decode()}), flush=True)
        await ask("file", FileStatus(name="results/2026-01-31.json"))
        await ask("sha256", FileHashChecksum(name="results/2026-01-31.json", type="sha256"))
        await ask("crc32", FileHashChecksum(name="results/2026-01-31.json", type="crc32", off=1, len=1))
        await ask("default hash", FileHashChecksum(name="results/2026-01-31.json"))
        await ask("hashes", SupportedFileHashChecksumTypes())
        await ask("close", FileClose())
        await ask("absent", FileDownload(name="logs/other.log", off=0))
        await ask("path", FileDownload(name="logs/../../etc/passwd", off=0))
        await ask("write", FileUpload(name="logs/service.log", off=0, data=b"x", len=1))


if __name__ == "__main__":
    with open(sys.argv[3], "rb") as file:
        asyncio.run(session(sys.argv[1], sys.argv[2], file.read()))
