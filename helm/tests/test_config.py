"""The configuration that is rendered: it says what values say, and the real binary takes it."""

import os
import pathlib
import re
import secrets
import subprocess
import tempfile
import tomllib
import unittest

import chart
import geoip_file

BINARY = os.environ["PINSTRIPE_BIN"]


def files(items):
    """(component, file name, text) of every configuration of a release."""
    for component in ("gateway", "monitor", "pinner"):
        for item in chart.kind(items, "ConfigMap"):
            if item["metadata"]["name"] == f"{chart.FULL}-{component}":
                for name, text in item["data"].items():
                    yield component, name, text


def only(tree, component):
    """The first configuration of a component, read."""
    return next(tomllib.loads(text) for which, _, text in files(chart.objects(tree)) if which == component)


class Rendered(unittest.TestCase):
    def test_whole_numbers_stay_whole_and_fractions_fractions(self):
        config = {
            "uploads": {"size_max": 1 << 36, "dag_nodes_max": 1_000_000, "files_max": 5},
            "ranking": {"success_min": 0.5, "prior": 2.0, "slow_weight_min": 0.0625},
            "limits": {"client_rate": 0.001},
            "reads": {"mode": "proxy", "trustless_hosts": ["a.example", "b.example"]},
            "log": {"filter": 'info,"odd"\\<&>'},
            "denylist": {"files": []},
            "cache": {"memory_bytes": None},
        }
        read = only(chart.merged(chart.values("minimal"), {"gateway": {"config": config}}), "gateway")
        self.assertEqual(read["uploads"]["size_max"], 68_719_476_736)
        for key in ("size_max", "dag_nodes_max", "files_max", "spool_bytes"):
            self.assertIsInstance(read["uploads"][key], int)
        self.assertEqual(read["ranking"], {"success_min": 0.5, "prior": 2, "slow_weight_min": 0.0625})
        self.assertEqual(read["limits"]["client_rate"], 0.001)
        self.assertEqual(read["reads"]["trustless_hosts"], ["a.example", "b.example"])
        self.assertEqual(read["log"]["filter"], 'info,"odd"\\<&>')
        self.assertEqual(read["denylist"]["files"], [])
        self.assertNotIn("memory_bytes", read.get("cache", {}))

    def test_truth_is_written_as_truth(self):
        tree = chart.merged(chart.values("minimal"), {"monitor": {"config": {"repairs": {"eagerly": True}}}})
        self.assertIs(only(tree, "monitor")["repairs"]["eagerly"], True)

    def test_tables_in_lists_are_refused_rather_than_lost(self):
        tree = chart.merged(chart.values("minimal"), {"gateway": {"config": {"odd": {"list": [{"a": 1}]}}}})
        with self.assertRaisesRegex(Exception, "no tables within lists"):
            chart.objects(tree)

    def test_all_processes_send_traces_to_the_same_collector(self):
        for component in ("gateway", "monitor", "pinner"):
            traces = only(chart.values("production"), component)["traces"]
            self.assertEqual(traces, {"endpoint": "http://collector.monitoring.svc:4318/v1/traces", "sampled": 0.05})
            if component == "gateway":
                self.assertNotIn("traces", only(chart.values("minimal"), component))

    def test_every_listener_has_an_address_of_its_own(self):
        gateway = only(chart.values("production"), "gateway")
        self.assertEqual(gateway["listen"], "0.0.0.0:8080")
        self.assertEqual(gateway["internal_listen"], "0.0.0.0:9090")
        self.assertEqual(gateway["admin_listen"], "127.0.0.1:8081")
        self.assertNotIn("admin_listen", only(chart.values("minimal"), "gateway"))
        self.assertEqual(only(chart.values("production"), "monitor")["listen"], "0.0.0.0:9090")
        six = chart.merged(chart.values("minimal"), {"bindAddress": "[::]"})
        self.assertEqual(only(six, "gateway")["listen"], "[::]:8080")

    def test_every_node_has_its_own_url(self):
        for name, expected in (
            ("production", "https://pinner-{0}.nodes.example:4100"),
            ("trial", f"http://{chart.FULL}-pinner-{{0}}.{chart.NAMESPACE}.svc:4100"),
        ):
            urls = [tomllib.loads(text)["url"] for which, _, text in files(chart.release(name)) if which == "pinner"]
            self.assertEqual(set(urls), {expected.format(ordinal) for ordinal in range(len(urls))})
        urls = {tomllib.loads(text)["url"] for which, _, text in files(chart.release("tls")) if which == "pinner"}
        self.assertEqual(urls, {f"https://nodes.example:{30500 + ordinal}" for ordinal in range(12)})

    def test_gateways_and_nodes_of_a_release_find_each_other(self):
        node = only(chart.values("trial"), "pinner")
        service = chart.one(chart.release("trial"), "Service", f"{chart.FULL}-gateway")
        port = service["spec"]["ports"][0]["port"]
        self.assertEqual(node["gateways"], [f"http://{chart.FULL}-gateway.{chart.NAMESPACE}.svc:{port}"])
        # By the name that is in the certificate.
        self.assertEqual(only(chart.values("tls"), "pinner")["gateways"], ["https://gateway.example"])

    def test_a_node_offers_less_than_its_volume_has(self):
        self.assertEqual(only(chart.values("production"), "pinner")["capacity"], "1800 GiB")

    def test_the_disk_is_large_enough_for_what_may_be_put_there(self):
        gateway = only(chart.values("production"), "gateway")
        spec = chart.one(chart.release("production"), "Deployment", f"{chart.FULL}-gateway")["spec"]["template"]["spec"]
        limits = {v["name"]: v["emptyDir"]["sizeLimit"] for v in spec["volumes"] if "emptyDir" in v}
        gib = 1 << 30
        self.assertGreater(int(limits["spool"].removesuffix("Gi")) * gib, gateway["uploads"]["spool_bytes"])
        self.assertGreater(int(limits["cache"].removesuffix("Gi")) * gib, gateway["cache"]["disk_bytes"])

    def test_files_that_a_configuration_names_are_mounted(self):
        for name in chart.NAMES:
            items = chart.release(name)
            for component, file, text in files(items):
                workload = chart.one(items, "StatefulSet" if component == "pinner" else "Deployment", f"{chart.FULL}-{component}")
                container = workload["spec"]["template"]["spec"]["containers"][0]
                mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
                for path in re.findall(r'"(/[^"]*)"', text):
                    with self.subTest(f"{name}: {file}: {path}"):
                        self.assertTrue(any(path == mount or path.startswith(mount + "/") for mount in mounts))
                        if path.startswith("/secrets/"):
                            self.assertIn(path.removeprefix("/secrets/"), projected(workload))


def projected(workload):
    volumes = {v["name"]: v for v in workload["spec"]["template"]["spec"]["volumes"]}
    sources = volumes["secrets"]["projected"]["sources"]
    return {item["path"] for source in sources for item in source["secret"]["items"]}


class BinaryTest(unittest.TestCase):
    """Has the binary check configurations: `pinstripe config check`, which also reads the files that one names."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = pathlib.Path(self.directory.name)

    def check(self, kind, text):
        """What the binary says to a configuration whose absolute paths lead into our directory."""

        def moved(match):
            path = self.root / match[1].lstrip("/")
            self.make(path)
            return f'"{path}"'

        file = self.root / f"{kind}.toml"
        file.write_text(re.sub(r'"(/[^"]*)"', moved, text))
        variables = {key: value for key, value in os.environ.items() if not key.startswith("PINSTRIPE")}
        command = [BINARY, "config", "check", kind, "--config", str(file)]
        return subprocess.run(command, capture_output=True, text=True, env=variables, check=False, timeout=60)

    def make(self, path):
        """What belongs into a file of this name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        made = {
            "network.key": lambda: secrets.token_hex(32),
            "admin.token": lambda: secrets.token_hex(24),
            "database-url": lambda: "postgres://pinstripe:secret@database.example/pinstripe",
            "redis-url": lambda: "redis://:secret@redis.example:6379",
            "invite": lambda: "inv_" + secrets.token_hex(16),
            "badbits.deny": lambda: "version: 1\n---\n",
        }
        if path.exists():
            return
        if path.name in made:
            path.write_text(made[path.name]())
            path.chmod(0o440)
        elif path.suffix == ".mmdb":
            path.write_bytes(geoip_file.database())
        elif path.suffix in (".crt", ".key"):
            key, certificate = path.with_suffix(".key"), path.with_suffix(".crt")
            command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=gateway.example"
            command += " -addext subjectAltName=DNS:gateway.example"
            out = subprocess.run([*command.split(), "-keyout", key, "-out", certificate], capture_output=True, check=False)
            self.assertEqual(out.returncode, 0, out.stderr)
            key.chmod(0o440)
        else:
            path.mkdir()


class Loaded(BinaryTest):
    def test_the_binary_takes_what_is_rendered(self):
        for name in chart.NAMES:
            for component, file, text in files(chart.release(name)):
                with self.subTest(f"{name}: {file}"):
                    outcome = self.check(component, text)
                    self.assertEqual(outcome.returncode, 0, outcome.stdout + outcome.stderr)

    def test_the_binary_refuses_what_is_wrong(self):
        """So that the test above can fail."""
        for component, change in (
            ("gateway", {"uploads": {"codec": "none"}}),
            ("gateway", {"uploadz": {}, "uploads": {"queue_maximum": 1}}),
            ("monitor", {"repairs": {"at_once": 0}}),
            ("pinner", {"reserve": "some"}),
        ):
            tree = chart.merged(chart.values("production"), {component: {"config": change}})
            text = next(text for which, _, text in files(chart.objects(tree)) if which == component)
            outcome = self.check(component, text)
            self.assertEqual(outcome.returncode, 1, f"{change}: {outcome.stdout}{outcome.stderr}")

    def test_the_binary_knows_the_commands_of_pods_and_their_flags(self):
        seen = set()
        for name in chart.NAMES:
            for _, _, template in chart.pod_templates(chart.release(name)):
                for container in chart.containers(template):
                    if container["image"].rsplit("/", 1)[-1].startswith("pinstripe:"):
                        seen.add(tuple(word for word in container["args"] if not word.startswith("/")))
        self.assertEqual({words[0] for words in seen}, {"gateway", "monitor", "pinner", "migrate"})
        for command, *flags in seen:
            shown = subprocess.run([BINARY, command, "--help"], capture_output=True, text=True, check=False).stdout
            for flag in flags:
                self.assertIn(f"{flag} <", shown, command)
