"""The Dockerfile, compose.yaml and the scripts beside them, as far as can be seen without a container engine."""

import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import tomllib
import unittest

import yaml

import chart
from test_config import BinaryTest

ROOT = chart.ROOT
DEPLOY = ROOT / "deploy"


def instructions():
    """(instruction, rest) of the Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


class Dockerfile(unittest.TestCase):
    def test_bases_are_named_and_can_be_pinned(self):
        defaults = dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG")
        bases = [re.fullmatch(r"\$\{(\w+)\} AS (\w+)", rest) for word, rest in instructions() if word == "FROM"]
        self.assertEqual([base[2] for base in bases], ["build", "run"])
        for base in bases:
            image = defaults[base[1]]
            self.assertRegex(image, r"^\w+:[\w.-]*\d[\w.-]*$")
            # A digest that nobody looked up would be worse than none.
            self.assertNotIn("@", image)

    def test_the_toolchain_is_the_one_that_the_workspace_asks_for(self):
        defaults = dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG")
        workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
        self.assertTrue(defaults["RUST_IMAGE"].startswith(f"rust:{workspace['rust-version']}-"))
        self.assertEqual(defaults["VERSION"], workspace["version"])
        metadata = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
        self.assertEqual(metadata["appVersion"], workspace["version"])

    def test_what_runs_is_no_root_and_holds_nothing_but_the_binary(self):
        words = instructions()
        last = words[max(at for at, (word, _) in enumerate(words) if word == "FROM") :]
        user = [rest for word, rest in last if word == "USER"]
        self.assertEqual(user, ["10001:10001"])
        self.assertEqual(chart.defaults()["runAsUser"], 10001)
        self.assertEqual([rest for word, rest in last if word == "COPY"], ["--from=build /out/pinstripe /usr/local/bin/pinstripe"])
        self.assertEqual([json.loads(rest) for word, rest in last if word == "ENTRYPOINT"], [["pinstripe"]])
        self.assertTrue([rest for word, rest in last if word == "LABEL"])
        for word, rest in words:
            self.assertNotIn(word, ("ADD", "HEALTHCHECK", "EXPOSE", "MAINTAINER"))
            self.assertNotRegex(rest, r"(?i)(password|token|secret)=")

    def test_builds_are_locked_and_cached(self):
        build = next(rest for word, rest in instructions() if word == "RUN" and "cargo build" in rest)
        self.assertIn("--locked", build)
        self.assertEqual(build.count("--mount=type=cache"), 2)
        # What is in a cache is not in the image: the binary has to leave it.
        self.assertRegex(build, r"install .* target/release/pinstripe /out/pinstripe")

    def test_packages_leave_no_lists_behind(self):
        for word, rest in instructions():
            if word == "RUN" and "apt-get install" in rest:
                self.assertIn("--no-install-recommends", rest)
                self.assertIn("rm -rf /var/lib/apt/lists/*", rest)

    def test_the_build_gets_all_sources_and_no_secrets(self):
        ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
        for kept in tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"] + ["migrations", "Cargo.lock"]:
            self.assertNotIn(kept.split("/")[0], ignored)
        # What sources include is sent, too.
        for path in ROOT.glob("*/src/**/*.rs"):
            for name in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', path.read_text()):
                included = (path.parent / name).resolve().relative_to(ROOT)
                self.assertNotIn(included.parts[0], ignored, f"{path} includes {included}")
                self.assertNotEqual(included.suffix, ".md")
        for left in (".git", "target", "deploy", "**/*.key", ".pinstripe"):
            self.assertIn(left, ignored)


def compose():
    return yaml.load((ROOT / "compose.yaml").read_text(), chart.StrictLoader)


class Compose(BinaryTest):
    def test_everything_that_a_service_names_is_there(self):
        tree = compose()
        used = {"secrets": set(), "configs": set(), "volumes": set()}
        for name, service in tree["services"].items():
            used["secrets"] |= set(service.get("secrets", []))
            used["configs"] |= {config["source"] for config in service.get("configs", [])}
            used["volumes"] |= {volume.split(":")[0] for volume in service.get("volumes", [])}
            for other in service.get("depends_on", {}):
                self.assertIn(other, tree["services"], name)
        for kind, names in used.items():
            self.assertEqual(names, set(tree[kind]))
        for config in tree["configs"].values():
            self.assertTrue((ROOT / config["file"]).is_file())

    def test_nothing_secret_is_in_it_and_nothing_is_open_to_the_network(self):
        for name, service in compose()["services"].items():
            for key, value in service.get("environment", {}).items():
                if re.search(r"(?i)password|token|secret", key):
                    self.assertTrue(str(value).startswith("/run/secrets/"), f"{name}: {key}")
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), f"{name}: {port}")
            self.assertNotIn("privileged", service)
            self.assertNotRegex(service["image"], r":latest$|^[^:]+$")
            if name != "migrate":
                self.assertIn("mem_limit", service)

    def test_our_processes_may_do_nothing_that_they_need_not(self):
        for name, service in compose()["services"].items():
            if service["image"].startswith("pinstripe:"):
                self.assertIs(service["read_only"], True, name)
                self.assertEqual(service["cap_drop"], ["ALL"], name)
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"], name)

    def test_there_are_two_gateways_a_monitor_and_enough_nodes(self):
        services = compose()["services"]
        nodes = [name for name in services if name.startswith("pinner-")]
        rules = tomllib.loads((DEPLOY / "compose" / "gateway.toml").read_text())["redundancy"]
        self.assertEqual(rules, tomllib.loads((DEPLOY / "compose" / "monitor.toml").read_text())["redundancy"])
        self.assertGreaterEqual(len(nodes), rules["total_max"])
        self.assertEqual(len([name for name in services if name.startswith("gateway-")]), 2)
        urls = {services[name]["environment"]["PINSTRIPE__URL"] for name in nodes}
        self.assertEqual(urls, {f"http://{name}:4100" for name in nodes})
        volumes = [volume for name in nodes for volume in services[name]["volumes"]]
        self.assertEqual(len(set(volumes)), len(nodes))
        self.assertEqual(services["migrate"]["depends_on"], {"postgres": {"condition": "service_healthy"}})
        for name in ("gateway-1", "gateway-2", "monitor"):
            self.assertEqual(services[name]["depends_on"]["migrate"], {"condition": "service_completed_successfully"})

    def test_configurations_name_only_secrets_that_are_mounted(self):
        for name, service in compose()["services"].items():
            for config in service.get("configs", []):
                text = (DEPLOY / "compose" / f"{config['source']}.toml").read_text()
                for secret in re.findall(r'"/run/secrets/([^"]+)"', text):
                    self.assertIn(secret, service["secrets"], name)

    def test_the_binary_takes_its_configurations(self):
        for kind in ("gateway", "monitor", "pinner"):
            outcome = self.check(kind, (DEPLOY / "compose" / f"{kind}.toml").read_text())
            self.assertEqual(outcome.returncode, 0, outcome.stdout + outcome.stderr)

    def test_compose_itself_takes_it(self):
        if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
            self.skipTest("NOT TESTED: docker compose is not here")
        outcome = subprocess.run(["docker", "compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)


class Scripts(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = pathlib.Path(self.directory.name)

    def make(self, *arguments):
        return subprocess.run([DEPLOY / "secrets.sh", *arguments], capture_output=True, text=True, check=False)

    def test_secrets_are_made_at_random_and_for_their_owner(self):
        made = []
        for name in ("a", "b"):
            outcome = self.make(self.root / name, "db.example", "redis.example")
            self.assertEqual(outcome.returncode, 0, outcome.stderr)
            made.append({path.name: path.read_text() for path in (self.root / name).iterdir()})
        first, second = made
        self.assertEqual(set(first), {secret["file"].rsplit("/", 1)[1] for secret in compose()["secrets"].values()})
        for name, text in first.items():
            if name != "invite":
                self.assertNotEqual(text, second[name], name)
        self.assertRegex(first["network.key"], r"^[0-9a-f]{64}\n$")
        self.assertEqual(first["database-url"], f"postgres://pinstripe:{first['postgres-password']}@db.example/pinstripe")
        self.assertEqual(first["redis-url"], f"redis://:{first['redis-password']}@redis.example:6379")
        for name, text in first.items():
            self.assertNotIn(text.strip() or "something", outcome.stdout, name)
        self.assertEqual(stat.S_IMODE((self.root / "a").stat().st_mode), 0o700)

    def test_secrets_are_never_overwritten(self):
        self.assertEqual(self.make(self.root / "a").returncode, 0)
        before = (self.root / "a" / "network.key").read_text()
        outcome = self.make(self.root / "a")
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("nothing was changed", outcome.stderr)
        self.assertEqual((self.root / "a" / "network.key").read_text(), before)

    def kubectl(self, release, there=""):
        """Runs helm/trial_secrets.sh with a kubectl that only writes down what it is asked."""
        fake = self.root / "kubectl"
        fake.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$*" >>{self.root}/asked\n'
            f'if [ "$3 $4" = "get secret" ]; then [ "$5" = "{there}" ]; exit; fi\n'
            'for word in "$@"; do case "$word" in --from-file=*) cat "${word##*=}" >/dev/null || exit 1 ;; esac; done\n'
            f'for word in "$@"; do case "$word" in *url=*database-url*) cat "${{word##*=}}" >{self.root}/url ;; esac; done\n'
        )
        fake.chmod(0o755)
        environment = os.environ | {"PATH": f"{self.root}:{os.environ['PATH']}"}
        command = [ROOT / "helm" / "trial_secrets.sh", "space", release]
        outcome = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        return outcome, (self.root / "asked").read_text().splitlines()

    def test_the_trial_of_the_chart_gets_the_secrets_that_it_names(self):
        outcome, asked = self.kubectl(chart.RELEASE)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        made = {}
        for line in asked:
            words = line.split()
            if words[2] == "create":
                made[words[5]] = {word.split("=")[1] for word in words if word.startswith("--from-file=")}
        tree = chart.values_merged("trial")
        self.assertEqual(
            made,
            {
                tree["networkKey"]["existingSecret"]: {tree["networkKey"]["key"]},
                tree["adminToken"]["existingSecret"]: {tree["adminToken"]["key"]},
                tree["database"]["existingSecret"]: {tree["database"]["key"], tree["postgresql"]["passwordKey"]},
                tree["redis"]["existingSecret"]: {tree["redis"]["key"], tree["redis"]["passwordKey"]},
            },
        )
        host = re.search(r"@([^/]+)/", (self.root / "url").read_text())[1]
        chart.one(chart.release("trial"), "Service", host)

    def test_the_trial_of_the_chart_overwrites_no_secret(self):
        outcome, asked = self.kubectl("demo", there="pinstripe-redis")
        self.assertEqual(outcome.returncode, 1)
        self.assertFalse([line for line in asked if " create " in line])

    def test_scripts_are_of_the_shell_that_runs_them(self):
        for path in [*DEPLOY.glob("*.sh"), ROOT / "helm" / "trial_secrets.sh", *(chart.CHART / "files").glob("*.sh")]:
            outcome = subprocess.run(["sh", "-n", path], capture_output=True, text=True, check=False)
            self.assertEqual(outcome.returncode, 0, outcome.stderr)
            self.assertRegex(path.read_text(), r"(?m)^set -eu$")
