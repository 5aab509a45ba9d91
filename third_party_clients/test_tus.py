"""tuspy against /tus: whole files, checksums, taking up again, and its asynchronous uploader."""

import asyncio
import io
import random
import unittest

import requests
from tusclient import client, exceptions

from network import GATEWAY, new_key, upload

MIB = 1 << 20


def noise(length, seed):
    return random.Random(seed).randbytes(length)


class Tus(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.key = new_key("tuspy")
        cls.headers = {"Authorization": f"Bearer {cls.key}"}
        cls.tus = client.TusClient(f"{GATEWAY}/tus", headers=cls.headers)

    def assert_stored(self, uploader, content):
        """What `uploader` sent is the file that a plain upload of `content` makes."""
        head = requests.head(uploader.url, headers=self.headers | {"Tus-Resumable": "1.0.0"})
        self.assertEqual(head.headers["Upload-Offset"], str(len(content)))
        plain = upload(self.key, data=content)
        self.assertTrue(plain.get("duplicate"))
        self.assertEqual(head.headers["Upload-Cid"], plain["cid"])

    def test_a_file_in_chunks(self):
        content = noise(3 * MIB + 7, 1)
        uploader = self.tus.uploader(
            file_stream=io.BytesIO(content), chunk_size=MIB - 1, metadata={"filename": "from Python ünï.bin"}
        )
        uploader.upload()
        self.assert_stored(uploader, content)

    def test_every_chunk_has_its_checksum(self):
        content = noise(2 * MIB, 2)
        uploader = self.tus.uploader(file_stream=io.BytesIO(content), chunk_size=300_000, upload_checksum=True)
        uploader.upload()
        self.assert_stored(uploader, content)

    def test_a_wrong_checksum_keeps_nothing(self):
        content = noise(MIB, 3)
        uploader = self.tus.uploader(file_stream=io.BytesIO(content), chunk_size=500_000)
        uploader.upload(stop_at=500_000)
        wrong = {"Tus-Resumable": "1.0.0", "Upload-Offset": "500000", "Content-Type": "application/offset+octet-stream"}
        wrong["Upload-Checksum"] = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="
        answer = requests.patch(uploader.url, data=content[500_000:], headers=self.headers | wrong)
        self.assertEqual(answer.status_code, 460)
        self.assertEqual(uploader.get_offset(), 500_000)
        uploader.upload()
        self.assert_stored(uploader, content)

    def test_another_uploader_goes_on(self):
        content = noise(4 * MIB, 4)
        first = self.tus.uploader(file_stream=io.BytesIO(content), chunk_size=MIB)
        first.upload(stop_at=2 * MIB)
        second = self.tus.uploader(file_stream=io.BytesIO(content), chunk_size=MIB, url=first.url)
        self.assertEqual(second.offset, 2 * MIB)
        second.upload()
        self.assert_stored(second, content)

    def test_the_asynchronous_uploader(self):
        content = noise(2 * MIB + 1, 5)
        uploader = self.tus.async_uploader(file_stream=io.BytesIO(content), chunk_size=MIB)
        asyncio.run(uploader.upload())
        self.assert_stored(uploader, content)

    def test_a_stranger_is_refused(self):
        stranger = client.TusClient(f"{GATEWAY}/tus")
        uploader = stranger.uploader(file_stream=io.BytesIO(b"content"))
        with self.assertRaises(exceptions.TusCommunicationError) as refused:
            uploader.upload()
        self.assertEqual(refused.exception.status_code, 401)


if __name__ == "__main__":
    unittest.main()
