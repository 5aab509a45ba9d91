"""What values are taken and what they make."""

import json
import unittest

import kubernetes_validate
from helm_python.errors import HelmError

import chart

# The oldest that the chart allows, and the newest that there are schemas for.
KUBERNETES = ["1.29", "1.33", "1.37"]
# Kinds of the Prometheus operator, for which there are no schemas here; test_monitoring looks at them.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}

REFUSED = {
    "a replica count of 0": {"gateway": {"replicas": 0}},
    "no replicas of nodes": {"pinner": {"enabled": True, "replicas": 0}},
    "a count as text": {"gateway": {"replicas": "two"}},
    "half a pod": {"monitor": {"replicas": 1.5}},
    "an unknown key": {"gatewy": {"replicas": 3}},
    "an unknown key of a component": {"gateway": {"replica": 3}},
    "an unknown key of the monitoring": {"monitoring": {"serviceMonitor": {"enable": True}}},
    "no network key": {"networkKey": {"existingSecret": ""}},
    "no database": {"database": {"existingSecret": ""}},
    "no public URL": {"gateway": {"publicUrl": ""}},
    "a public URL without a scheme": {"gateway": {"publicUrl": "gateway.example"}},
    "the tag latest": {"image": {"tag": "latest"}},
    "a digest that is none": {"image": {"digest": "sha256:abc"}},
    "a pull policy that does not exist": {"image": {"pullPolicy": "Sometimes"}},
    "an ingress without a host": {"gateway": {"ingress": {"enabled": True}}},
    "GeoIP from nowhere": {"geoip": {"mode": "perGateway"}},
    "GeoIP in a way that does not exist": {"geoip": {"mode": "sidecar", "url": "https://a.example/a.mmdb"}},
    "Redis for trial without a password": {"redis": {"enabled": True}},
    "a Service of a type that does not exist": {"gateway": {"service": {"type": "Public"}}},
    "a port that does not exist": {"pinner": {"service": {"port": 70000}}},
    "requests without memory": {"gateway": {"resources": {"requests": {"cpu": "1", "memory": None}}}},
    "memory in words": {"gateway": {"resources": {"limits": {"memory": "plenty"}}}},
    "root": {"runAsUser": 0},
    "nodes without gateways": {"gateway": {"enabled": False}, "pinner": {"enabled": True}},
    "TLS at nodes without a name for them": {"pinner": {"enabled": True, "tls": {"existingSecret": "nodes"}}},
    "a proxy that is no network": {"gateway": {"trustedProxies": ["10.0.0.1"]}},
    "a policy that lets in everybody by an empty list": {"networkPolicy": {"prometheus": {"from": []}}},
    "a secret in the configuration": {"gateway": {"config": {"database_url": "postgres://a:b@c/d"}}},
    "a listener that the chart sets": {"gateway": {"config": {"listen": "0.0.0.0:1"}}},
    "draining that the chart sets": {"gateway": {"config": {"http": {"drain": "1s"}}}},
    "a monitor's database": {"monitor": {"config": {"database_url_file": "/etc/passwd"}}},
    "a node's invitation": {"pinner": {"config": {"invite": "inv_x"}}},
    "a node's capacity": {"pinner": {"config": {"capacity": "1 TB"}}},
    "a volume too small to hold anything": {"pinner": {"storage": {"sizeGiB": 1}}},
}


class Values(unittest.TestCase):
    def test_the_chart_has_nothing_to_complain_of(self):
        for name in chart.NAMES:
            with self.subTest(name):
                report = chart.lint_messages(chart.values(name))
                # 1 is information: that there is no icon.
                self.assertEqual([m for m in report["messages"] if m["severity"] > 1], [])

    def test_wrong_values_are_refused(self):
        good = chart.values("minimal")
        chart.render(good)
        for what, change in REFUSED.items():
            with self.subTest(what):
                with self.assertRaises(HelmError) as refused:
                    chart.render(chart.merged(good, change))
                # By the schema, and not by a template that stumbled.
                self.assertIn("values don't meet the specifications of the schema", str(refused.exception))

    def test_the_defaults_alone_say_what_is_missing(self):
        with self.assertRaises(HelmError) as refused:
            chart.render({})
        for missing in ["/networkKey/existingSecret", "/database/existingSecret", "/gateway/publicUrl"]:
            self.assertIn(missing, str(refused.exception))

    def test_every_default_is_in_the_schema_and_every_key_of_it_has_a_default(self):
        schema = json.loads((chart.CHART / "values.schema.json").read_text())
        self.assertEqual(set(chart.defaults()) | {"global"}, set(schema["properties"]))
        for section in ("gateway", "monitor", "pinner", "geoip", "redis", "postgresql", "migration", "networkPolicy", "monitoring"):
            self.assertEqual(set(chart.defaults()[section]), set(schema["properties"][section]["properties"]), section)
            self.assertIs(schema["properties"][section]["additionalProperties"], False, section)

    def test_every_value_is_commented(self):
        lines = (chart.CHART / "values.yaml").read_text().splitlines()
        # Sections and keys at the first two levels have a comment above, in a line of their own, at least at their first use.
        bare = []
        seen = set()
        for before, line in zip([""] + lines, lines):
            key, colon, _ = line.strip().partition(":")
            depth = len(line) - len(line.lstrip())
            if not colon or line.lstrip().startswith(("#", "-")) or depth > 2 or key in seen:
                continue
            seen.add(key)
            if not before.lstrip().startswith("#") and key not in SELF_EXPLAINING:
                bare.append(key)
        self.assertEqual(bare, [])

    def test_kubernetes_takes_every_object(self):
        for name in chart.NAMES:
            for item in chart.release(name):
                if item["kind"] in FOREIGN:
                    continue
                for version in KUBERNETES:
                    with self.subTest(f"{name}: {item['kind']}/{item['metadata']['name']}, {version}"):
                        kubernetes_validate.validate(item, version, strict=True)

    def test_the_schemas_of_kubernetes_refuse_a_misspelt_field(self):
        deployment = json.loads(json.dumps(chart.kind(chart.release("minimal"), "Deployment")[0]))
        deployment["spec"]["replica"] = 3
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(deployment, "1.33", strict=True)

    def test_names_are_unique_short_and_in_the_release(self):
        for name in chart.NAMES:
            items = chart.release(name)
            keys = [(item["kind"], item["metadata"]["name"]) for item in items]
            self.assertEqual(len(keys), len(set(keys)), name)
            for item in items:
                self.assertEqual(item["metadata"]["namespace"], chart.NAMESPACE)
                self.assertLessEqual(len(item["metadata"]["name"]), 63)
                self.assertEqual(item["metadata"]["labels"]["app.kubernetes.io/instance"], chart.RELEASE)

    def test_notes_say_what_is_for_trial(self):
        def notes(name):
            return next(text for path, text in chart.render(chart.values(name)).items() if path.endswith("NOTES.txt"))

        self.assertIn("FOR TRIAL ONLY", notes("trial"))
        self.assertNotIn("TRIAL", notes("production"))
        self.assertIn("port-forward", notes("production"))
        self.assertIn("readers outside the cluster would be sent", self.notes_of(pinner={"enabled": True}))
        self.assertIn("trustedProxies is empty", self.notes_of(gateway={"ingress": {"enabled": True, "host": "a.example"}}))

    def notes_of(self, **change):
        rendered = chart.render(chart.merged(chart.values("minimal"), change))
        return next(text for path, text in rendered.items() if path.endswith("NOTES.txt"))


# Kubernetes' own words, and what a comment above the group says.
SELF_EXPLAINING = {
    "existingSecret", "key", "enabled", "repository", "pullPolicy", "image", "resources", "disruption", "schedule",
    "priorityClassName", "nodeSelector", "tolerations", "affinity", "podLabels", "podAnnotations", "extraVolumeMounts",
    "service", "ingress", "autoscaling", "storage", "sizeGiB", "deadlineSeconds", "drainSeconds", "memoryMax", "claim",
    "serviceMonitor", "rules", "dashboard", "redis", "from", "requests", "limits",
}
