"""The scripts that keep the GeoIP database new, run here with files in place of servers."""

import gzip
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import unittest

import chart
import geoip_file

FILES = chart.CHART / "files"


@unittest.skipUnless(shutil.which("curl"), "NOT TESTED: curl is not here")
class Fetch(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = pathlib.Path(self.directory.name)
        self.home = self.root / "geoip"
        self.home.mkdir()
        self.target = self.home / "city.mmdb"

    def fetch(self, name, content, mode="update"):
        (self.root / name).write_bytes(content)
        return self.run_on(f"file://{self.root}/{name}", mode)

    def run_on(self, url, mode):
        environment = os.environ | {"GEOIP_URL": url, "GEOIP_DIRECTORY": str(self.home)}
        command = ["sh", FILES / "geoip_fetch.sh", mode]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def test_every_form_of_the_database_is_taken(self):
        content = geoip_file.database()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            for name, data in (("GeoLite2_1/LICENSE.txt", b"words"), ("GeoLite2_1/GeoLite2-City.mmdb", content)):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        for name, data in (("a.mmdb", content), ("a.mmdb.gz", gzip.compress(content)), ("a.tar.gz", archive.getvalue())):
            with self.subTest(name):
                self.target.unlink(missing_ok=True)
                outcome = self.fetch(name, data)
                self.assertEqual(outcome.returncode, 0, outcome.stderr)
                self.assertEqual(self.target.read_bytes(), content)
                self.assertEqual([path.name for path in self.home.iterdir()], ["city.mmdb"])

    def test_what_is_no_database_never_replaces_one(self):
        good = geoip_file.database()
        for name, data in (
            ("page.mmdb", b"<html>please log in</html>"),
            ("cut.mmdb.gz", gzip.compress(good)[:-12]),
            ("empty.tar.gz", b""),
            ("nothing.mmdb", b""),
        ):
            with self.subTest(name):
                self.target.write_bytes(b"the old one")
                outcome = self.fetch(name, data)
                self.assertNotEqual(outcome.returncode, 0)
                self.assertEqual(self.target.read_bytes(), b"the old one")
                self.assertEqual([path.name for path in self.home.iterdir()], ["city.mmdb"])

    def test_a_gateway_starts_without_it_and_a_job_says_that_it_failed(self):
        missing = f"file://{self.root}/missing.mmdb"
        self.assertEqual(self.run_on(missing, "start").returncode, 0)
        self.assertEqual(self.run_on(missing, "update").returncode, 1)
        self.assertFalse(self.target.exists())


class Restart(unittest.TestCase):
    def test_the_deployment_is_patched_with_the_accounts_token(self):
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            (root / "token").write_text("t0ken")
            fake = root / "curl"
            fake.write_text(f'#!/bin/sh\ncat >{root}/input\nfor word in "$@"; do printf "%s\\n" "$word"; done >{root}/words\n')
            fake.chmod(0o755)
            environment = os.environ | {
                "PATH": f"{root}:{os.environ['PATH']}",
                "ACCOUNT_DIRECTORY": str(root),
                "NAMESPACE": "space",
                "DEPLOYMENT": "demo-gateway",
            }
            outcome = subprocess.run(["sh", FILES / "geoip_restart.sh"], env=environment, capture_output=True, text=True, check=False)
            self.assertEqual(outcome.returncode, 0, outcome.stderr)
            words = (root / "words").read_text().splitlines()
            self.assertEqual(
                words[-1], "https://kubernetes.default.svc/apis/apps/v1/namespaces/space/deployments/demo-gateway"
            )
            patch = json.loads(words[words.index("--data") + 1])
            self.assertEqual(list(patch["spec"]["template"]["metadata"]["annotations"]), ["pinstripe.internal/geoip"])
            # By standard input, since arguments can be read by others.
            self.assertIn("Bearer t0ken", (root / "input").read_text())
            self.assertFalse([word for word in words if "t0ken" in word])
