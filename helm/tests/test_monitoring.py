"""Metrics: docs/metrics.md, the dashboard and the alerts name what the code emits, and every alert says what to do."""

import functools
import json
import re
import unittest

import promql_parser
import yaml

import chart

FILES = chart.CHART / "files"
# What Prometheus makes itself.
OF_PROMETHEUS = {"up"}
# What becomes of a histogram's name.
SUFFIXES = {"_bucket", "_sum", "_count"}
SOURCES = [path for path in chart.ROOT.glob("*/src/**/*.rs") if "tests" not in path.parts and path.name != "tests.rs"]


@functools.cache
def emitted():
    """{name: (type, labels)} of every metric in the code."""
    found = {}
    for path in SOURCES:
        text = path.read_text()
        for match in re.finditer(r"metrics::(counter|gauge|histogram)!\(", text):
            arguments = within(text[match.end() :])
            name = re.match(r'\s*"([^"]+)"', arguments)
            assert name, f"{path}: the name of a metric must be a text, so that it can be found: {arguments}"
            labels = set(re.findall(r'"(\w+)"\s*=>', arguments))
            known = found.setdefault(name[1], (match[1], labels))
            assert known == (match[1], labels), f"{path}: {name[1]} is {match[1]} {labels} here, {known} elsewhere"
        # All of them are called by their full names, or they would not be found.
        assert not re.search(r"(?<!metrics::)\b(counter|gauge|histogram)!\(", text), path
    return found


def within(text):
    """The text up to the parenthesis that closes."""
    depth = 1
    for at, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[:at]
    raise AssertionError("a parenthesis does not close")


def documented():
    """{name: (type, labels)} of docs/metrics.md."""
    found = {}
    for line in (chart.ROOT / "docs" / "metrics.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 5:
            name = cells[0].strip("`")
            assert name not in found, f"{name} stands twice"
            assert cells[3] and cells[4], f"{name}: who, and what?"
            found[name] = (cells[1], set(re.findall(r"`(\w+)`", cells[2])))
    return found


def selectors(expression):
    """Every selector of an expression, or an error when it does not parse."""
    found = []

    def visit(node):
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector) and node not in found:
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def rules():
    """The alerts as they are rendered."""
    rule = chart.one(chart.release("production"), "PrometheusRule", f"{chart.FULL}-alerts")
    return [alert for group in rule["spec"]["groups"] for alert in group["rules"]]


def dashboard():
    data = chart.one(chart.release("production"), "ConfigMap", f"{chart.FULL}-dashboard")["data"]
    return json.loads(data["pinstripe.json"])


def expressions():
    """(where, expression) of all alerts and panels."""
    for alert in rules():
        yield alert["alert"], alert["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m").replace("$release", chart.RELEASE)


def section(text, title):
    """What stands under a heading."""
    match = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##|\Z)", text, re.M | re.S)
    return match[1] if match else ""


class Names(unittest.TestCase):
    def test_the_table_is_what_the_code_emits(self):
        self.assertGreater(len(emitted()), 50)
        self.assertEqual(set(documented()) - set(emitted()), set(), "documented, and emitted by nobody")
        self.assertEqual(set(emitted()) - set(documented()), set(), "emitted, and missing in docs/metrics.md")
        for name, kind in emitted().items():
            self.assertEqual(documented()[name], kind, name)

    def test_names_keep_to_the_conventions(self):
        for name, (kind, labels) in emitted().items():
            with self.subTest(name):
                self.assertRegex(name, r"^pinstripe_[a-z0-9]+(_[a-z0-9]+)*$")
                self.assertEqual(name.endswith("_total"), kind == "counter")
                self.assertNotRegex(name, r"_(ms|millis|milliseconds|minutes|hours|kb|kib|mb|mib|gb|percent)(_|$)")
                if kind == "histogram":
                    self.assertRegex(name, r"_(seconds|bytes)$", "its buckets go by its unit")
                self.assertFalse(labels & {"job", "instance", "le", "quantile", "release", "component", "pod"})

    def test_alerts_and_dashboard_ask_for_what_there_is(self):
        for where, expression in expressions():
            with self.subTest(f"{where}: {expression}"):
                found = selectors(expression)
                self.assertTrue(found)
                for selector in found:
                    self.check(selector)

    def check(self, selector):
        name = selector.name
        base = next((name.removesuffix(s) for s in SUFFIXES if name not in emitted() and name.endswith(s)), name)
        if base in OF_PROMETHEUS:
            return
        self.assertIn(base, emitted())
        kind, labels = emitted()[base]
        self.assertEqual(base != name, kind == "histogram", f"{name} is a {kind}")
        # What the ServiceMonitor and Prometheus add.
        known = labels | {"release", "component", "pod", "le"}
        for matcher in selector.matchers.matchers:
            self.assertIn(matcher.name, known, name)

    def test_names_that_do_not_exist_are_noticed(self):
        for wrong in ("uploads_total", "pinstripe_no_such_total", 'pinstripe_segments{stage="lost"}', "pinstripe_repair_duration_seconds"):
            with self.assertRaises(AssertionError):
                self.check(selectors(wrong)[0])
        with self.assertRaises(ValueError):
            selectors("sum(rate(pinstripe_uploads_total[5m])")


class Alerts(unittest.TestCase):
    def test_every_alert_is_complete(self):
        names = [alert["alert"] for alert in rules()]
        self.assertEqual(len(names), len(set(names)))
        for alert in rules():
            with self.subTest(alert["alert"]):
                self.assertRegex(alert["alert"], r"^Pinstripe[A-Z]\w+$")
                self.assertIn(alert["labels"]["severity"], ("critical", "warning"))
                self.assertEqual(set(alert["annotations"]), {"summary", "runbook_url"})
                # Only this release: several may be in one Prometheus.
                for selector in selectors(alert["expr"]):
                    released = [m.value for m in selector.matchers.matchers if m.name == "release"]
                    self.assertEqual(released, [chart.RELEASE], selector.name)

    def test_every_alert_leads_to_a_section_that_says_what_to_do(self):
        text = (chart.ROOT / "docs" / "operations.md").read_text()
        for alert in rules():
            with self.subTest(alert["alert"]):
                anchor = alert["alert"].lower()
                self.assertEqual(alert["annotations"]["runbook_url"], f"https://runbooks.example/operations.md#{anchor}")
                said = section(text, alert["alert"])
                for part in ("**Means.**", "**Look.**", "**Do.**"):
                    self.assertIn(part, said)

    def test_every_section_belongs_to_an_alert(self):
        text = (chart.ROOT / "docs" / "operations.md").read_text()
        sections = set(re.findall(r"^### (Pinstripe\w+)$", text, re.M))
        self.assertEqual(sections, {alert["alert"] for alert in rules()})

    def test_what_alerts_show_of_series_is_in_their_result(self):
        for alert in rules():
            shown = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
            grouped = re.search(r"by \(([^)]*)\)", alert["expr"])
            kept = set(re.split(r",\s*", grouped[1])) if grouped else set()
            if kept:
                self.assertLessEqual(shown, kept, alert["alert"])
            elif re.match(r"(max|sum|time)\b", alert["expr"]):
                self.assertEqual(shown, set(), alert["alert"])

    def test_texts_of_prometheus_survive_the_chart(self):
        self.assertIn("{{ $labels.pod }}", next(a for a in rules() if a["alert"] == "PinstripeNodeBusy")["annotations"]["summary"])
        raw = yaml.safe_load((FILES / "alerts.yaml").read_text())
        self.assertEqual(sum(len(group["rules"]) for group in raw["groups"]), len(rules()))


class Objects(unittest.TestCase):
    def test_nothing_of_it_is_made_unless_wanted(self):
        for kind in ("ServiceMonitor", "PrometheusRule"):
            self.assertEqual(chart.kind(chart.release("minimal"), kind), [])

    def test_the_service_monitor_finds_the_internal_services_and_no_others(self):
        for name in ("production", "tls"):
            items = chart.release(name)
            monitor = chart.one(items, "ServiceMonitor", f"{chart.FULL}-all")["spec"]
            wanted = monitor["selector"]["matchLabels"]
            found = [s for s in chart.kind(items, "Service") if chart.matches(wanted, s["metadata"]["labels"])]
            components = {s["metadata"]["labels"]["app.kubernetes.io/component"] for s in found}
            self.assertEqual((components, len(found)), ({"gateway", "monitor", "pinner"}, 3))
            for service in found:
                self.assertIn(monitor["endpoints"][0]["port"], {port["name"] for port in service["spec"]["ports"]})
            self.assertEqual(monitor["namespaceSelector"]["matchNames"], [chart.NAMESPACE])
            # What alerts and dashboard tell processes apart by.
            targets = {rule["targetLabel"] for rule in monitor["endpoints"][0]["relabelings"]}
            self.assertEqual(targets, {"component", "release"})

    def test_the_dashboard_is_found_and_asks_the_data_source_that_is_chosen(self):
        item = chart.one(chart.release("production"), "ConfigMap", f"{chart.FULL}-dashboard")
        self.assertEqual(item["metadata"]["labels"]["grafana_dashboard"], "1")
        board = dashboard()
        self.assertEqual({variable["name"] for variable in board["templating"]["list"]}, {"datasource", "release"})
        ids = [panel["id"] for panel in board["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        for panel in board["panels"]:
            if panel["type"] != "row":
                self.assertEqual(panel["datasource"]["uid"], "${datasource}")
                self.assertTrue(panel["targets"])
        boxes = [panel["gridPos"] for panel in board["panels"]]
        for at, box in enumerate(boxes):
            self.assertLessEqual(box["x"] + box["w"], 24)
            for other in boxes[at + 1 :]:
                apart = box["x"] + box["w"] <= other["x"] or other["x"] + other["w"] <= box["x"]
                above = box["y"] + box["h"] <= other["y"] or other["y"] + other["h"] <= box["y"]
                self.assertTrue(apart or above, (box, other))
