"""Logs: one name for each thing in all processes, and docs/operations.md says which."""

import functools
import re
import unittest

import chart

SOURCES = [path for path in chart.ROOT.glob("*/src/**/*.rs") if "tests" not in path.parts and path.name != "tests.rs"]
# A measuring program of its own.
SOURCES = [path for path in SOURCES if path.relative_to(chart.ROOT).parts[0] != "loadtest"]
MACRO = re.compile(r"\b(?:trace|debug|info|warn|error)!\(")
FIELD = re.compile(r"([a-z_][a-z0-9_.]*)\s*=[^=]|[%?]?([a-z_][a-z0-9_]*)$")


def arguments(text):
    """What stands between the parentheses, cut at its commas."""
    parts, depth, quoted, start, at = [], 0, False, 0, 0
    while at < len(text):
        character = text[at]
        if quoted:
            at += character == "\\"
            quoted = character != '"'
        elif character == '"':
            quoted = True
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            if depth == 0:
                return [part for part in (*parts, text[start:at].strip()) if part]
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
        at += 1
    raise AssertionError("a parenthesis does not close")


def fields(text):
    """(names, messages) of one call's arguments."""
    names, messages = [], []
    for part in arguments(text):
        if part.startswith('"'):
            messages.append(part.strip('"'))
            continue
        match = FIELD.match(part)
        assert match, f"what is this field called? {part}"
        names.append(match[1] or match[2])
    return names, messages


@functools.cache
def logged():
    """{field: a file that logs it}."""
    found = {}
    for path in SOURCES:
        text = path.read_text()
        for match in MACRO.finditer(text):
            if not text[: match.start()].endswith("tracing::"):
                raise AssertionError(f"{path}: say tracing:: in front, so that it is found")
            names, messages = fields(text[match.end() :])
            assert len(messages) == 1, f"{path}: one message: {messages}"
            for name in names:
                found[name] = path
    return found


def documented():
    text = (chart.ROOT / "docs" / "operations.md").read_text()
    section = re.search(r"^## Logs\n(.*?)^## ", text, re.M | re.S)[1]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert len(names) == len(set(names)), "a name stands twice"
    return set(names)


class Fields(unittest.TestCase):
    def test_every_field_is_in_the_table_and_every_name_in_use(self):
        self.assertGreater(len(logged()), 40)
        missing = {name: str(path) for name, path in logged().items() if name not in documented()}
        self.assertEqual(missing, {}, "logged under a name that is not in docs/operations.md")
        # What the format of lines adds itself.
        self.assertEqual(documented() - set(logged()) - {"trace_id"}, set(), "documented, and logged by nobody")

    def test_spans_of_time_and_amounts_say_their_units(self):
        for name in logged():
            self.assertNotRegex(name, r"(^|_)(size|len|length|duration|elapsed|took|secs|millis)$")

    def test_fields_are_found_in_all_their_forms(self):
        text = '%error, node = %row.id, pieces, ?check, left = self.f(a, "x)"), "a {message}, with = signs")'
        self.assertEqual(fields(text), (["error", "node", "pieces", "check", "left"], ["a {message}, with = signs"]))
        with self.assertRaises(AssertionError):
            fields('row.id, "no name")')
