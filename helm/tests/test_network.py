"""That traffic finds its way: Services, ingress, policies, the autoscaler and budgets name what is there, and no more is let in."""

import unittest

import chart

COMPONENTS = ("gateway", "monitor", "pinner")


def pods_of(items):
    """(name, labels, container ports by name) of all pods."""
    for name, _, template in chart.pod_templates(items):
        ports = {p["name"]: p["containerPort"] for c in template["spec"]["containers"] for p in c.get("ports", [])}
        yield name, template["metadata"]["labels"], ports


def selected(items, selector):
    return [(name, ports) for name, labels, ports in pods_of(items) if chart.matches(selector, labels)]


class Services(unittest.TestCase):
    def test_every_service_leads_to_ports_of_one_kind_of_pod(self):
        for name in chart.NAMES:
            items = chart.release(name)
            for service in chart.kind(items, "Service"):
                selector = dict(service["spec"]["selector"])
                selector.pop("statefulset.kubernetes.io/pod-name", None)
                pods = selected(items, selector)
                with self.subTest(f"{name}: {service['metadata']['name']}"):
                    self.assertEqual(len(pods), 1)
                    for port in service["spec"]["ports"]:
                        self.assertIn(port["targetPort"], pods[0][1])

    def test_selectors_of_workloads_take_their_own_pods_and_no_others(self):
        for name in chart.NAMES:
            items = chart.release(name)
            for item in chart.kind(items, "Deployment", "StatefulSet"):
                pods = selected(items, item["spec"]["selector"]["matchLabels"])
                self.assertEqual([pod for pod, _ in pods], [f"{item['kind']}/{item['metadata']['name']}"], name)

    def test_the_internal_port_is_never_in_a_service_that_the_world_may_reach(self):
        for name in chart.NAMES:
            for service in chart.kind(chart.release(name), "Service"):
                if any(port["targetPort"] == "internal" for port in service["spec"]["ports"]):
                    self.assertEqual(service["spec"]["clusterIP"], "None")
                    self.assertEqual(len(service["spec"]["ports"]), 1)

    def test_every_node_has_an_address_of_its_own(self):
        for name in chart.NAMES:
            items = chart.release(name)
            sets = [item for item in chart.kind(items, "StatefulSet") if item["metadata"]["name"].endswith("-pinner")]
            for item in sets:
                names = {f"{chart.FULL}-pinner-{ordinal}" for ordinal in range(item["spec"]["replicas"])}
                own = {
                    s["metadata"]["name"]: s["spec"]
                    for s in chart.kind(items, "Service")
                    if "statefulset.kubernetes.io/pod-name" in s["spec"]["selector"]
                }
                self.assertEqual(set(own), names)
                for node, spec in own.items():
                    self.assertEqual(spec["selector"]["statefulset.kubernetes.io/pod-name"], node)
                    # A gateway calls a node back before it is admitted, and only then it is ready.
                    self.assertIs(spec["publishNotReadyAddresses"], True)
                self.assertIn(item["spec"]["serviceName"], {s["metadata"]["name"] for s in chart.kind(items, "Service")})

    def test_node_ports_and_annotations_follow_the_number_of_the_node(self):
        services = chart.release("tls")
        for ordinal in (0, 11):
            service = chart.one(services, "Service", f"{chart.FULL}-pinner-{ordinal}")
            self.assertEqual(service["spec"]["ports"][0]["nodePort"], 30500 + ordinal)
        service = chart.one(chart.release("production"), "Service", f"{chart.FULL}-pinner-3")
        self.assertEqual(
            service["metadata"]["annotations"], {"external-dns.alpha.kubernetes.io/hostname": "pinner-3.nodes.example"}
        )

    def test_the_ingress_leads_to_the_gateways_for_the_host_and_all_hosts_of_cids(self):
        items = chart.release("production")
        ingress = chart.one(items, "Ingress", f"{chart.FULL}-gateway")
        hosts = [rule["host"] for rule in ingress["spec"]["rules"]]
        self.assertEqual(hosts, ["gateway.example", "*.ipfs.gateway.example"])
        self.assertEqual(ingress["spec"]["tls"], [{"secretName": "gateway-certificate", "hosts": hosts}])
        for rule in ingress["spec"]["rules"]:
            backend = rule["http"]["paths"][0]["backend"]["service"]
            service = chart.one(items, "Service", backend["name"])
            self.assertIn(backend["port"]["name"], {port["name"] for port in service["spec"]["ports"]})
        alone = chart.merged(chart.values("production"), {"gateway": {"ingress": {"subdomains": False}}})
        ingress = chart.one(chart.objects(alone), "Ingress", f"{chart.FULL}-gateway")
        self.assertEqual(len(ingress["spec"]["rules"]), 1)

    def test_the_ingress_finds_gateways_that_speak_tls(self):
        tree = chart.merged(chart.values("production"), {"gateway": {"tls": {"existingSecret": "inside"}}})
        items = chart.objects(tree)
        port = chart.one(items, "Ingress", f"{chart.FULL}-gateway")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"]
        self.assertEqual(port["name"], chart.one(items, "Service", f"{chart.FULL}-gateway")["spec"]["ports"][0]["name"])


class Numbers(unittest.TestCase):
    def test_the_autoscaler_scales_the_gateways_by_both_measures(self):
        items = chart.release("production")
        scaler = chart.one(items, "HorizontalPodAutoscaler", f"{chart.FULL}-gateway")["spec"]
        target = scaler["scaleTargetRef"]
        chart.one(items, target["kind"], target["name"])
        self.assertEqual([m["resource"]["name"] for m in scaler["metrics"]], ["cpu", "memory"])
        self.assertLess(scaler["minReplicas"], scaler["maxReplicas"])
        self.assertEqual(set(scaler["behavior"]), {"scaleUp", "scaleDown"})
        self.assertEqual(chart.kind(chart.release("minimal"), "HorizontalPodAutoscaler"), [])

    def test_budgets_take_one_workload_each(self):
        for name in chart.NAMES:
            items = chart.release(name)
            for budget in chart.kind(items, "PodDisruptionBudget"):
                pods = selected(items, budget["spec"]["selector"]["matchLabels"])
                self.assertEqual(len(pods), 1, name)
                self.assertTrue(pods[0][0].endswith(budget["metadata"]["name"]))
        self.assertEqual(len(chart.kind(chart.release("production"), "PodDisruptionBudget")), 3)

    def test_pods_are_spread(self):
        for name in ("minimal", "production"):
            for pod, _, template in chart.pod_templates(chart.release(name)):
                if not pod.endswith(COMPONENTS):
                    continue
                spread = template["spec"]["topologySpreadConstraints"]
                self.assertEqual(
                    {rule["topologyKey"] for rule in spread}, {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
                )
                for rule in spread:
                    self.assertTrue(chart.matches(rule["labelSelector"]["matchLabels"], template["metadata"]["labels"]))
        spec = chart.one(chart.release("region"), "Deployment", f"{chart.FULL}-gateway")["spec"]["template"]["spec"]
        self.assertNotIn("topologySpreadConstraints", spec)


class Policies(unittest.TestCase):
    def policies(self, name):
        return {p["metadata"]["name"].removeprefix(f"{chart.FULL}-"): p["spec"] for p in chart.kind(chart.release(name), "NetworkPolicy")}

    def test_everything_is_refused_that_is_not_allowed(self):
        for name in chart.NAMES:
            policies = self.policies(name)
            if name == "nodes":
                self.assertEqual(policies, {})
                continue
            deny = policies["default-deny"]
            self.assertEqual(deny["policyTypes"], ["Ingress", "Egress"])
            self.assertNotIn("ingress", deny)
            self.assertNotIn("egress", deny)
            for pod, labels, _ in pods_of(chart.release(name)):
                self.assertTrue(chart.matches(deny["podSelector"]["matchLabels"], labels), f"{name}: {pod}")
                own = [p for p in policies.values() if p is not deny and chart.matches(p["podSelector"]["matchLabels"], labels)]
                self.assertEqual(len(own), 1, f"{name}: {pod}")

    def test_ports_that_are_opened_exist_in_the_pods(self):
        for name in chart.NAMES:
            items = chart.release(name)
            for policy in self.policies(name).values():
                ports = {port for _, known in selected(items, policy["podSelector"]["matchLabels"]) for port in known.values()}
                for rule in policy.get("ingress", []):
                    self.assertTrue(rule["from"], "an empty list lets in everybody")
                    for port in rule["ports"]:
                        self.assertIn(port["port"], ports)
                for rule in policy.get("egress", []):
                    for peer in rule.get("to", []):
                        if "podSelector" in peer:
                            for _, known in selected(items, peer["podSelector"]["matchLabels"]):
                                self.assertIn(rule["ports"][0]["port"], known.values())

    def test_only_prometheus_reaches_the_internal_port(self):
        for name in chart.NAMES:
            for which, policy in self.policies(name).items():
                for rule in policy.get("ingress", []):
                    if {"port": 9090} in rule["ports"]:
                        self.assertEqual(rule["ports"], [{"port": 9090}])
                        self.assertEqual(
                            rule["from"], [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
                        )
                    elif which == "monitor":
                        self.fail("a monitor has nothing for anybody else")

    def test_behind_an_ingress_gateways_are_reached_by_nobody_else(self):
        public = [r for r in self.policies("production")["gateway"]["ingress"] if {"port": 8080} in r["ports"]][0]
        self.assertIn("namespaceSelector", public["from"][0])
        self.assertFalse([peer for peer in public["from"] if "ipBlock" in peer])
        public = [r for r in self.policies("tls")["gateway"]["ingress"] if {"port": 8080} in r["ports"]][0]
        self.assertTrue([peer for peer in public["from"] if "ipBlock" in peer])

    def test_no_pod_reaches_the_credentials_of_its_machine(self):
        for name in chart.NAMES:
            for which, policy in self.policies(name).items():
                for rule in policy.get("egress", []):
                    for peer in rule.get("to", []):
                        if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                            self.assertIn("169.254.0.0/16", peer["ipBlock"]["except"], f"{name}: {which}")

    def test_who_sends_traces_reaches_the_collector(self):
        collector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        wanted = {"to": [collector], "ports": [{"port": 4318}]}
        for which in ("gateway", "monitor", "pinner"):
            self.assertIn(wanted, self.policies("production")[which]["egress"])
            self.assertNotIn(wanted, self.policies("minimal").get(which, {}).get("egress", []))

    def test_databases_of_the_release_are_reached_by_who_uses_them(self):
        policies = self.policies("trial")
        for database, users in (("postgresql", ["gateway", "monitor"]), ("redis", ["gateway"])):
            peers = policies[database]["ingress"][0]["from"]
            self.assertEqual([p["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for p in peers], users)
            self.assertNotIn("egress", policies[database])
            for user in users:
                to = [peer for rule in policies[user]["egress"] for peer in rule.get("to", []) if "podSelector" in peer]
                self.assertIn(database, [p["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for p in to])
