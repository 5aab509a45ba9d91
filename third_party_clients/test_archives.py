"""requests and Python's tarfile: forms, tar streams in each of its formats, and directories read back as tar."""

import io
import random
import tarfile
import unittest

import requests

from network import GATEWAY, new_key, upload

LONG = "a folder/" + "x" * 120 + "/" + "y" * 120 + ".txt"
FILES = {
    "index.html": b"<h1>tar</h1>",
    "empty": b"",
    "images/large.bin": random.Random(1).randbytes(2_500_000),
    "names/ünïcode 名前.txt": b"named oddly",
    LONG: b"named at length",
}


def packed(format):
    """`FILES` as a tar, and a symbolic link beside them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for path, content in FILES.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "images/large.bin"
        archive.addfile(link)
    return buffer.getvalue()


def pieces(content, length=70_001):
    """`content` in parts, so that requests sends it without telling how long it is."""
    for start in range(0, len(content), length):
        yield content[start : start + length]


class Archives(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.key = new_key("archives")
        parts = [("file", (path, content)) for path, content in FILES.items()]
        link = ("file", ("link", b"images/large.bin", "application/symlink"))
        cls.cid = upload(cls.key, files=[*parts, link])["cid"]

    def test_a_tar_of_each_format_is_the_same_directory_as_the_form(self):
        for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
            with self.subTest(format=format):
                answer = upload(self.key, "?unpack=tar", data=pieces(packed(format)))
                self.assertEqual(answer["cid"], self.cid)

    def test_a_directory_is_read_as_tar(self):
        for route in ("redirect", "proxy"):
            with self.subTest(route=route):
                answer = requests.get(f"{GATEWAY}/ipfs/{self.cid}?format=tar&route={route}", stream=True)
                self.assertEqual(answer.headers["Content-Type"], "application/x-tar")
                found = {}
                with tarfile.open(fileobj=answer.raw, mode="r|") as archive:
                    for entry in archive:
                        path = entry.name.removeprefix(self.cid).removeprefix("/")
                        if entry.isfile():
                            found[path] = archive.extractfile(entry).read()
                        elif entry.issym():
                            found[path] = entry.linkname
                self.assertEqual(found, FILES | {"link": "images/large.bin"})

    def test_a_broken_tar_is_refused(self):
        broken = bytearray(packed(tarfile.PAX_FORMAT))
        broken[148:154] = b"000000"  # the checksum of the first header
        answer = requests.post(
            f"{GATEWAY}/v1/files?unpack=tar", headers={"Authorization": f"Bearer {self.key}"}, data=bytes(broken)
        )
        self.assertEqual((answer.status_code, answer.json()["error"]["reason"]), (400, "bad_archive"))


if __name__ == "__main__":
    unittest.main()
