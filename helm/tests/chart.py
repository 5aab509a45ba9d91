"""The chart as tests see it: rendered by Helm's own library, as objects and the pods in them."""

import functools
import pathlib

import yaml
from helm_python.chart import Chart, lint

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "pinstripe"
VALUES = ROOT / "helm" / "values"
NAMES = sorted(path.stem for path in VALUES.glob("*.yaml"))
RELEASE, NAMESPACE = "demo", "storage"
FULL = f"{RELEASE}-pinstripe"


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, which would silently lose the first."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"keys stand twice: {twice} {node.start_mark}")
        return super().construct_mapping(node, deep)


def values(name):
    """The values of one of helm/values."""
    return yaml.load((VALUES / f"{name}.yaml").read_text(), StrictLoader)


@functools.cache
def _chart():
    return Chart.load(str(CHART))


def defaults():
    return _chart().values


def render(tree):
    """The rendered texts by template."""
    return _chart().render(tree, name=RELEASE, namespace=NAMESPACE)


def objects(tree):
    """All objects of a release with these values."""
    found = []
    for path, text in render(tree).items():
        if not path.endswith(".txt"):
            found += [item for item in yaml.load_all(text, StrictLoader) if item]
    return found


@functools.cache
def release(name):
    """The objects of one of helm/values. Do not change them."""
    return objects(values(name))


def lint_messages(tree):
    return lint(str(CHART), tree, strict=True, kube_version="v1.33.0")


def kind(items, *kinds):
    return [item for item in items if item["kind"] in kinds]


def one(items, which, name):
    """The object of this kind and name."""
    found = [item for item in kind(items, which) if item["metadata"]["name"] == name]
    assert len(found) == 1, f"{which} {name}: {len(found)} of them"
    return found[0]


def pod_templates(items):
    """(name, kind, pod template) of everything that makes pods."""
    for item in items:
        name = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield name, item["kind"], item["spec"]["template"]
        elif item["kind"] == "CronJob":
            yield name, item["kind"], item["spec"]["jobTemplate"]["spec"]["template"]


def containers(template):
    spec = template["spec"]
    return spec.get("initContainers", []) + spec["containers"]


def matches(selector, labels):
    """Whether a selector by labels takes something with these."""
    assert selector, "an empty selector takes everything"
    return all(labels.get(key) == value for key, value in selector.items())


def merged(base, change):
    """A copy of a tree of values with another laid over it."""
    tree = dict(base)
    for key, value in change.items():
        old = tree.get(key)
        tree[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return tree


def values_merged(name):
    """The values of one of helm/values with the defaults under them."""
    return merged(defaults(), values(name))
