"""Hygiene of what is rendered: what pods may do, and that whatever names something names something that is there."""

import re
import unittest

import chart

# Objects that values name and others make. What is named beyond them must be in the release.
FOREIGN_CONFIG_MAPS = {"denylist"}
# Value sets in which each gateway fetches the GeoIP database itself.
PER_GATEWAY = {name for name in chart.NAMES if chart.values_merged(name)["geoip"]["mode"] == "perGateway"}
LONG_RUNNING = ("Deployment", "StatefulSet")


def every_pod():
    """(value set, objects, name, kind, pod template) of all value sets."""
    for name in chart.NAMES:
        items = chart.release(name)
        for pod, kind, template in chart.pod_templates(items):
            yield name, items, pod, kind, template


def secrets_of(tree):
    """{Secret: keys} that values name."""
    found = {}

    def add(section, *keys):
        if section.get("existingSecret"):
            found.setdefault(section["existingSecret"], set()).update(keys)

    for section in (tree["networkKey"], tree["adminToken"], tree["database"], tree["redis"], tree["pinner"]["invite"], tree["geoip"]):
        add(section, section["key"])
    for trial, section in ((tree["postgresql"], tree["database"]), (tree["redis"], tree["redis"])):
        add(section, trial["passwordKey"])
    for section in (tree["gateway"]["tls"], tree["pinner"]["tls"]):
        add(section, "tls.crt", "tls.key")
    return found


def secret_uses(template):
    """(Secret, key, mode of its file) of every Secret that a pod uses."""
    spec = template["spec"]
    for volume in spec.get("volumes", []):
        sources = [volume["secret"] | {"name": volume["secret"]["secretName"]}] if "secret" in volume else []
        mode = volume.get("secret", {}).get("defaultMode")
        if "projected" in volume:
            sources = [source["secret"] for source in volume["projected"]["sources"]]
            mode = volume["projected"]["defaultMode"]
        for source in sources:
            for item in source["items"]:
                yield source["name"], item["key"], mode


class Pods(unittest.TestCase):
    def test_pods_may_do_nothing_that_they_need_not(self):
        for name, _, pod, _, template in every_pod():
            spec = template["spec"]
            with self.subTest(f"{name}: {pod}"):
                self.assertIs(spec["enableServiceLinks"], False)
                # Only the job that has gateways replaced talks to Kubernetes.
                may_ask = pod.startswith("CronJob/") and name in PER_GATEWAY
                self.assertIs(spec["automountServiceAccountToken"], may_ask)
                self.assertEqual("serviceAccountName" in spec, may_ask)
                for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
                    self.assertNotIn(forbidden, spec)
                security = spec["securityContext"]
                self.assertIs(security["runAsNonRoot"], True)
                self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"})
                if name != "nodes":
                    self.assertGreaterEqual(security["runAsUser"], 999)
                    self.assertEqual(security["fsGroup"], security["runAsUser"])
                for container in chart.containers(template):
                    self.assertEqual(
                        container["securityContext"],
                        {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
                    )

    def test_a_cluster_that_gives_users_out_may_do_so(self):
        for _, _, template in chart.pod_templates(chart.release("nodes")):
            self.assertNotIn("runAsUser", template["spec"]["securityContext"])
            self.assertNotIn("fsGroup", template["spec"]["securityContext"])

    def test_containers_are_bounded_and_their_images_named(self):
        for name, _, pod, _, template in every_pod():
            for container in chart.containers(template):
                with self.subTest(f"{name}: {pod}: {container['name']}"):
                    self.assertIn("memory", container["resources"]["limits"])
                    self.assertTrue({"cpu", "memory"} <= set(container["resources"]["requests"]))
                    self.assertRegex(container["image"], r"^[^:]+(:\d+/[^:]+)?:[^:@]+(@sha256:[0-9a-f]{64})?$")
                    self.assertNotRegex(container["image"], r":latest")
            for volume in template["spec"].get("volumes", []):
                self.assertNotIn("hostPath", volume)
                if "emptyDir" in volume:
                    self.assertIn("sizeLimit", volume["emptyDir"], f"{name}: {pod}: {volume['name']}")

    def test_a_digest_is_used(self):
        digest = "sha256:" + "a" * 64
        items = chart.objects(chart.merged(chart.values("minimal"), {"image": {"digest": digest, "tag": "9"}}))
        images = {container["image"] for _, _, template in chart.pod_templates(items) for container in chart.containers(template)}
        self.assertEqual(images, {f"pinstripe:9@{digest}"})

    def test_long_running_containers_have_all_probes_on_ports_that_exist(self):
        for name, _, pod, kind, template in every_pod():
            if kind not in LONG_RUNNING:
                continue
            for container in template["spec"]["containers"]:
                ports = {port["name"] for port in container["ports"]}
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    with self.subTest(f"{name}: {pod}: {probe}"):
                        action = container[probe].get("httpGet") or container[probe].get("tcpSocket")
                        if action:
                            self.assertIn(action["port"], ports)
                            self.assertNotEqual(action["port"], "public")

    def test_volumes_and_mounts_fit(self):
        for name, _, pod, _, template in every_pod():
            spec = template["spec"]
            there = {volume["name"] for volume in spec.get("volumes", [])}
            owner = [item for item in chart.release(name) if f"{item['kind']}/{item['metadata']['name']}" == pod][0]
            there |= {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])}
            mounted = set()
            for container in chart.containers(template):
                mounts = container.get("volumeMounts", [])
                paths = [mount["mountPath"] for mount in mounts]
                self.assertEqual(len(paths), len(set(paths)), f"{name}: {pod}")
                mounted |= {mount["name"] for mount in mounts}
            self.assertEqual(mounted, there, f"{name}: {pod}")

    def test_config_maps_that_are_named_are_there(self):
        for name, items, pod, _, template in every_pod():
            there = {item["metadata"]["name"] for item in chart.kind(items, "ConfigMap")}
            for volume in template["spec"].get("volumes", []):
                if "configMap" in volume and volume["configMap"]["name"] not in FOREIGN_CONFIG_MAPS:
                    self.assertIn(volume["configMap"]["name"], there, f"{name}: {pod}")

    def test_files_that_commands_name_are_in_what_is_mounted(self):
        for name, items, pod, _, template in every_pod():
            volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
            replicas = chart.one(items, "StatefulSet", f"{chart.FULL}-pinner")["spec"]["replicas"] if "pinner" in pod else 1
            for container in chart.containers(template):
                for word in container.get("args", []) + container.get("command", []):
                    if not re.fullmatch(r"/etc/(pinstripe|geoip)/\S+", word):
                        continue
                    mount = [m for m in container["volumeMounts"] if word.startswith(m["mountPath"] + "/")][0]
                    data = chart.one(items, "ConfigMap", volumes[mount["name"]]["configMap"]["name"])["data"]
                    for ordinal in range(replicas):
                        file = word.removeprefix(mount["mountPath"] + "/").replace("$(POD_NAME)", f"{chart.FULL}-pinner-{ordinal}")
                        self.assertIn(file, data, f"{name}: {pod}")

    def test_claims_that_are_named_are_there(self):
        for name, items, pod, _, template in every_pod():
            for volume in template["spec"].get("volumes", []):
                if "persistentVolumeClaim" in volume:
                    claim = chart.one(items, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
                    self.assertEqual(claim["spec"]["accessModes"], ["ReadWriteMany"], f"{name}: {pod}")

    def test_a_changed_configuration_restarts_pods(self):
        def checksum(tree, component):
            items = chart.objects(tree)
            which = "StatefulSet" if component == "pinner" else "Deployment"
            return chart.one(items, which, f"{chart.FULL}-{component}")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

        good = chart.values("production")
        for component in ("gateway", "monitor", "pinner"):
            before = checksum(good, component)
            self.assertRegex(before, r"^[0-9a-f]{64}$")
            self.assertEqual(before, checksum(good, component))
            other = chart.merged(good, {component: {"config": {"log": {"filter": "debug"}}}})
            self.assertNotEqual(before, checksum(other, component))
        # One more node leaves the others alone; another URL does not.
        more = chart.merged(good, {"pinner": {"replicas": 7}})
        self.assertEqual(checksum(good, "pinner"), checksum(more, "pinner"))
        elsewhere = chart.merged(good, {"pinner": {"url": "https://{name}.other.example"}})
        self.assertNotEqual(checksum(good, "pinner"), checksum(elsewhere, "pinner"))

    def test_pods_are_given_the_time_that_they_need_to_stop(self):
        change = {"gateway": {"drainDelaySeconds": 7, "drainSeconds": 100}, "pinner": {"enabled": True, "drainSeconds": 90}}
        items = chart.objects(chart.merged(chart.values("minimal"), change))
        for which, component, least in (("Deployment", "gateway", 207), ("StatefulSet", "pinner", 185), ("Deployment", "monitor", 40)):
            spec = chart.one(items, which, f"{chart.FULL}-{component}")["spec"]["template"]["spec"]
            self.assertGreaterEqual(spec["terminationGracePeriodSeconds"], least + 10)

    def test_gateways_are_replaced_without_one_missing(self):
        spec = chart.one(chart.release("production"), "Deployment", f"{chart.FULL}-gateway")["spec"]
        self.assertEqual(spec["strategy"]["rollingUpdate"], {"maxUnavailable": 0, "maxSurge": 1})
        # Whose number the autoscaler sets must not be set back by an upgrade.
        self.assertNotIn("replicas", spec)
        self.assertEqual(chart.one(chart.release("minimal"), "Deployment", f"{chart.FULL}-gateway")["spec"]["replicas"], 2)

    def test_who_may_replace_gateways_may_do_nothing_else(self):
        for name in chart.NAMES:
            roles = chart.kind(chart.release(name), "Role", "ClusterRole", "ClusterRoleBinding")
            self.assertEqual(len(roles), 1 if name in PER_GATEWAY else 0, name)
            for role in roles:
                gateway = {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": [f"{chart.FULL}-gateway"], "verbs": ["patch"]}
                self.assertEqual(role["rules"], [gateway])
                binding = chart.one(chart.release(name), "RoleBinding", role["metadata"]["name"])
                self.assertEqual(binding["roleRef"]["name"], role["metadata"]["name"])
                account = chart.one(chart.release(name), "ServiceAccount", binding["subjects"][0]["name"])
                job = chart.one(chart.release(name), "CronJob", f"{chart.FULL}-geoip")["spec"]["jobTemplate"]["spec"]["template"]
                self.assertEqual(job["spec"]["serviceAccountName"], account["metadata"]["name"])


class Secrets(unittest.TestCase):
    def test_no_secret_is_rendered(self):
        for name in chart.NAMES:
            self.assertEqual(chart.kind(chart.release(name), "Secret"), [])

    def test_secrets_come_by_reference_and_for_nobody_else(self):
        for name, _, pod, _, template in every_pod():
            known = secrets_of(chart.values_merged(name))
            for secret, key, mode in secret_uses(template):
                with self.subTest(f"{name}: {pod}: {secret}"):
                    self.assertIn(key, known.get(secret, set()))
                    self.assertEqual(mode, 0o440)

    def test_no_secret_is_in_a_variable(self):
        for name, _, pod, _, template in every_pod():
            for container in chart.containers(template):
                self.assertNotIn("envFrom", container)
                for variable in container.get("env", []):
                    self.assertNotIn("secretKeyRef", variable.get("valueFrom", {}), f"{name}: {pod}")
                    self.assertNotRegex(variable["name"].upper(), r"(PASSWORD|TOKEN|SECRET)$", f"{name}: {pod}")

    def test_every_secret_that_values_name_is_used(self):
        for name in chart.NAMES:
            known = {(secret, key) for secret, keys in secrets_of(chart.values_merged(name)).items() for key in keys}
            used = {(s, k) for _, _, template in chart.pod_templates(chart.release(name)) for s, k, _ in secret_uses(template)}
            trial = chart.values_merged(name)
            # Passwords beside URLs are for databases of the release only.
            optional = set()
            for section, which in (("database", "postgresql"), ("redis", "redis")):
                if not trial[which]["enabled"]:
                    optional.add((trial[section]["existingSecret"], trial[which]["passwordKey"]))
            self.assertEqual(known - optional - used, set(), name)

    def test_nothing_secret_is_in_a_config_map(self):
        for name in chart.NAMES:
            for item in chart.kind(chart.release(name), "ConfigMap"):
                text = "\n".join(item["data"].values())
                for word in (r"postgres(ql)?://", r"rediss?://", r"\binv_", r"password\s*=", r"BEGIN .*KEY"):
                    self.assertNotRegex(text, word, f"{name}: {item['metadata']['name']}")


class Migration(unittest.TestCase):
    def test_with_a_database_elsewhere_it_runs_before_everything(self):
        job = chart.one(chart.release("minimal"), "Job", f"{chart.FULL}-migrate")
        hooks = job["metadata"]["annotations"]
        self.assertEqual(hooks["helm.sh/hook"], "pre-install,pre-upgrade")
        self.assertIn("before-hook-creation", hooks["helm.sh/hook-delete-policy"])
        self.assertNotIn("hook-failed", hooks["helm.sh/hook-delete-policy"])
        self.assertGreater(job["spec"]["activeDeadlineSeconds"], 0)
        self.assertGreater(job["spec"]["backoffLimit"], 0)
        spec = job["spec"]["template"]["spec"]
        self.assertEqual(spec["restartPolicy"], "Never")
        # Nothing of the release is there yet: no account, no configuration, only the operator's Secret.
        self.assertNotIn("serviceAccountName", spec)
        self.assertEqual([set(volume) for volume in spec["volumes"]], [{"name", "projected"}])

    def test_it_is_the_only_hook(self):
        for name in chart.NAMES:
            hooks = [i["metadata"]["name"] for i in chart.release(name) if "helm.sh/hook" in i["metadata"].get("annotations", {})]
            self.assertEqual(hooks, [f"{chart.FULL}-migrate"] if name in ("minimal", "production", "tls") else [], name)

    def test_with_a_database_of_the_release_it_runs_before_each_process(self):
        items = chart.release("trial")
        self.assertEqual(chart.kind(items, "Job"), [])
        for component in ("gateway", "monitor"):
            first = chart.one(items, "Deployment", f"{chart.FULL}-{component}")["spec"]["template"]["spec"]["initContainers"][0]
            self.assertEqual((first["name"], first["args"]), ("migrate", ["migrate", "--database-file", "/secrets/database-url"]))
