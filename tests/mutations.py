"""Break one rule of evaluation at a time and see which test notices.

    python tests/mutations.py            every rule, as the table in tests/README.md
    python tests/mutations.py holdout    the rules whose name holds a word

The tests are collected once. For each mutation a forked process puts the broken code into the loaded modules
and runs the tests, those about the file first, up to the first that fails; nothing on disk is touched.
"""

import os
import sys
import warnings
from functools import cached_property
from pathlib import Path
from types import FunctionType

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).parents[1]
TESTS = ("test_targeting.py", "conformance/test_conditions.py", "test_assign.py", "test_audit.py", "test_posthog_sdk.py")
SERVER, SDK, OUTCOME = "assign/server.py", "assign/sdk.py", "assign/outcome.py"
OPERATORS, SDK_OPERATORS = "targeting/server_operators.py", "targeting/sdk_operators.py"
TEXTS, DATES, SEMVER, PATTERNS = (f"targeting/{name}.py" for name in ("texts", "dates", "semver", "patterns"))
UNITS, COLUMNS, MATCHER = (f"targeting/{name}.py" for name in ("units", "columns", "matcher"))

PASSED = "every test passed"

# rule, file, the code that keeps it, the code that breaks it
MUTATIONS = [
    ("rollout: hash prefix is the key and a dot", SERVER, 'return ids.hash01(f"{flag.key}.") <=', 'return ids.hash01(f"{flag.key}") <='),
    ("rollout: inclusive edge", SERVER, '(f"{flag.key}.") <= share / 100', '(f"{flag.key}.") < share / 100'),
    ("rollout: no percentage is 100 %", SERVER, "share = 100.0 if condition.rollout_percentage is None", "share = 0.0 if condition.rollout_percentage is None"),
    ("rollout: inclusive edge (SDK)", SDK, 'rolled = ~(ids.hash01(f"{flag.key}.") > share / 100)', 'rolled = ids.hash01(f"{flag.key}.") < share / 100'),
    ("variant: salt", OUTCOME, '(f"{flag.key}.", "variant")', '(f"{flag.key}.", "")'),
    ("variant: strict edge", OUTCOME, "arm += numbers >= edge", "arm += numbers > edge"),
    ("variant: running float sum", OUTCOME, "edge += variant.rollout_percentage / 100", "edge = round(edge + variant.rollout_percentage / 100, 12)"),
    ("variant: beyond the last edge is plain true", OUTCOME, "FIRST_VARIANT + len(edges), ON)", "FIRST_VARIANT + len(edges), FIRST_VARIANT)"),
    ("holdout: prefix without dot or key", SERVER, 'ids.hash01("holdout-", of_flag=False) <=', 'ids.hash01("holdout.", of_flag=False) <='),
    ("holdout: inclusive edge", SERVER, "of_flag=False) <= share / 100", "of_flag=False) < share / 100"),
    ("holdout: clamped above", SERVER, "min(max(float(flag.holdout.exclusion_percentage), 0.0), 100.0)", "max(float(flag.holdout.exclusion_percentage), 0.0) % 100"),
    ("holdout: value names the holdout", "flags/parts.py", 'return f"holdout-{self.id}"', 'return f"holdout_{self.id}"'),
    ("holdout: before the sets", SERVER, "            self._holdout(flag, found)\n", ""),
    ("holdout: the SDK does not know the old form", SDK, "and not flag.holdout.legacy", ""),
    ("holdout: the SDK knows the new form", SDK, 'found.close(held, "holdout_condition_value"', 'found.note(held, "holdout_condition_value", 0) or (lambda *a: 0)(held, ""'),
    ("id: cut to 200 characters on the server", UNITS, "SERVER_ID_LENGTH = 200", "SERVER_ID_LENGTH = 201"),
    ("id: cut by characters, not bytes", UNITS, "pc.utf8_slice_codeunits(texts, 0,", "pc.binary_slice(texts.cast('large_binary'), 0,"),
    ("id: the SDK does not cut", UNITS, "if not server or not len(texts):", "if not len(texts):"),
    ("id: empty is zero on the server", UNITS, "found[self.empty & ~self.missing] = 0.0", "pass"),
    ("id: empty is hashed by the SDK", UNITS, "self.empty_is_zero and of_flag and self.empty.any()", "of_flag and self.empty.any()"),
    ("id: missing is unknown", SERVER, 'found.close(self.units.ids.missing, "missing_id", UNKNOWN)', "pass"),
    ("group: the key is hashed", SERVER, "return self._no_ids() if groups is None else groups.ids", "return self._no_ids() if groups is None else self.units.ids"),
    ("group: no key, no match", SERVER, "applies = ~ids.empty\n            found.note(~applies, \"no_group_type\", index)", "applies = ids.empty | True"),
    ("group: a set without its own type follows the flag", SERVER, "flag.aggregation_group_type_index if isinstance(group_type, Unset)", "None if isinstance(group_type, Unset)"),
    ("group: an explicit null is the person", SERVER, "if isinstance(group_type, Unset) else group_type", "if not isinstance(group_type, int) else group_type"),
    ("group: filters read the group's properties", SERVER, "            view = self.units.groups_of(index)", "            view = self.units.persons"),
    ("group: the key is a property", UNITS, 'if key == "$group_key" and column is None:', 'if key == "$nothing" and column is None:'),
    ("group: unknown index is inconclusive (SDK)", SDK, "found.give_up(found.open, INCONCLUSIVE)\n        elif groups is None", 'found.close(found.open, "no_group_type", OFF)\n        elif groups is None'),
    ("group: without the group the SDK says off", SDK, 'found.close(groups.ids.missing, "no_group_type", OFF)', "found.give_up(groups.ids.missing, INCONCLUSIVE)"),
    ("device: the device is hashed", SERVER, 'self.units.devices_or_persons if flag.bucketing_identifier == "device_id"', 'self.units.ids if flag.bucketing_identifier == "device_id"'),
    ("device: without one a set is skipped", SERVER, "applies = ~self._devices().empty", "applies = found.open"),
    ("device: the reason is out_of_rollout_bound", SERVER, 'found.note(~applies, "out_of_rollout_bound", index)', 'found.note(~applies, "no_condition_match", index)'),
    ("device: without one the SDK cannot tell", SDK, "if bucketing is not units.ids:\n                found.give_up(bucketing.empty, INCONCLUSIVE)", "if False:\n                pass"),
    ("early access: decides first", SERVER, "            self._early_access(flag, found)\n            self._holdout(flag, found)", "            self._holdout(flag, found)\n            self._early_access(flag, found)"),
    ("early access: true or the text true", SERVER, 'int(value is True or value == "true")', "int(bool(value))"),
    ("early access: absent continues", SERVER, "enrolled = Matcher(INCONCLUSIVE,", "enrolled = Matcher(NO,"),
    ("early access: the key of the flag", SERVER, 'f"$feature_enrollment/{flag.key}", enrolled', 'f"$feature_enrollment/g", enrolled'),
    ("early access: newer form wins", SERVER, 'found.close(answers <= YES, "super_condition_value", answers, condition=0)\n            return', 'found.close(answers <= YES, "super_condition_value", answers, condition=0)'),
    ("early access: older form has a rollout", SERVER, "np.where((holds == YES) & rolled, ON, OFF), condition=0", "np.where(holds == YES, ON, OFF), condition=0"),
    ("early access: older form only where the property is", SERVER, "known |= persons.answers(item.key, Matcher(NO,", "known |= persons.answers(item.key, Matcher(YES,"),
    ("early access: only the first older set", SERVER, "first = flag.super_conditions[0]", "first = flag.super_conditions[-1]"),
    ("early access: the SDK cannot tell without it", SDK, "found.give_up(answers == INCONCLUSIVE, INCONCLUSIVE)", "answers = answers * (answers != INCONCLUSIVE)"),
    ("order: stored, overrides not first", SERVER, "enumerate(flag.conditions):\n", "sorted(enumerate(flag.conditions), key=lambda c: not c[1].variant):\n"),
    ("override: must be a variant", OUTCOME, "if condition.variant in keys:", "if condition.variant:\n        keys = [*keys, condition.variant]"),
    ("early exit: stops", SERVER, "if flag.early_exit:", "if False:"),
    ("early exit: only where the filters held", SERVER, "excluded = applies & (holds != NO) & ~rolled", "excluded = applies & ~rolled"),
    ("early exit: keeps an earlier doubt (SDK)", SDK, "found.give_up(excluded & doubtful, INCONCLUSIVE)", "pass"),
    ("reason: of equals the later", OUTCOME, "(self.reason <= CODE[reason])", "(self.reason < CODE[reason])"),
    ("reason: rollout above no match above no group", OUTCOME, '"no_group_type", "no_condition_match", "out_of_rollout_bound",', '"no_condition_match", "out_of_rollout_bound", "no_group_type",'),
    ("reason: no set at all is no_group_type", OUTCOME, 'CODE["no_group_type"], dtype', 'CODE["no_condition_match"], dtype'),
    ("disabled is off", SERVER, "if flag.deleted or not flag.active:", "if flag.deleted:"),
    ("deleted is off", SERVER, "if flag.deleted or not flag.active:", "if not flag.active:"),
    ("disabled is off (SDK)", SDK, "        if not flag.active:\n            found.close", "        if False:\n            found.close"),
    ("payload: none when off on the server", "assign/evaluate.py", "        by_arm[0] = None", "        pass"),
    ("payload: an opt-out keeps that of true", "assign/evaluate.py", 'answers[row] = flag.payloads.get("true")', "pass"),
    ("continuity is refused", OUTCOME, "if continuity and flag.active and flag.ensure_experience_continuity:", "if False:"),
    ("continuity leaves the SDK undecided", SDK, "elif flag.ensure_experience_continuity:\n            found.give_up(everyone, INCONCLUSIVE)", "elif False:\n            pass"),
    ("version 2 is refused", OUTCOME, "if flag.config_version == 2:", "if False:"),
    ("cohort: AND", SERVER, 'every = definition.get("type", "AND") != "OR"', "every = False"),
    ("cohort: OR", SERVER, 'every = definition.get("type", "AND") != "OR"', "every = True"),
    ("cohort: negation", SERVER, "return negate(answers) if item.negation else answers", "return answers"),
    ("cohort: not_in", SERVER, 'return negate(members) if item.operator == "not_in" else members\n\n    def _members', "return members\n\n    def _members"),
    ("cohort: exact is no operator on the server", SERVER, 'if item.operator not in ("in", "not_in"):\n            return', 'if item.operator not in ("in", "not_in", "exact"):\n            return'),
    ("cohort: exact is in for the SDK", SDK, 'if item.operator not in ("exact", "in", "not_in"):', 'if item.operator not in ("in", "not_in"):'),
    ("cohort: the empty one matches everyone", SERVER, "YES if every or not definition else NO", "YES if every and definition else NO"),
    ("cohort: static is unknown", SERVER, "answers = np.full(self.units.rows, INCONCLUSIVE, dtype=np.uint8)", "answers = np.full(self.units.rows, NO, dtype=np.uint8)"),
    ("cohort: a missing one ends the SDK's evaluation", SDK, "found.give_up(asked & (holds == SERVER), SERVER)", "holds[holds == SERVER] = INCONCLUSIVE"),
    ("cohort: a missing one outweighs a decided branch (SDK)", SDK, "return np.where(server, SERVER, found).astype(np.uint8)", "return np.where(server & ~decided, SERVER, found).astype(np.uint8)"),
    ("cohort: negation (SDK)", SDK, "return negate(answers) if item.negation else answers", "return answers"),
    ("dependency: true is any variant", SERVER, "matches = (arm != OFF) == item.value", "matches = (arm == ON) == item.value"),
    ("dependency: a text is the very variant", SERVER, "if names[code] == item.value]", "if names[code].lower() == item.value.lower()]"),
    ("dependency: only flag_evaluates_to", SERVER, 'if item.operator != "flag_evaluates_to" or target is None:', "if target is None:"),
    ("dependency: missing turns the flag off", SERVER, "elif self._broken(flag, ()):", "elif False:"),
    ("dependency: a cycle turns the flag off", SERVER, "        if flag.key in path:\n            return True", "        if flag.key in path:\n            return False"),
    ("dependency: broken at any depth", SERVER, "target is None or self._broken(target, (*path, flag.key))", "target is None or target.key == flag.key"),
    ("dependency: a disabled flag is not looked into", SERVER, "if not flag.active or flag.deleted:\n            return False", "if False:\n            return False"),
    ("dependency: by id in the stored form", SERVER, "return next(by_id, None) or self.flags.get(item.key)", "return self.flags.get(item.key)"),
    ("dependency: by key in the evaluated form", SERVER, 'if "dependency_chain" in item.extra and item.key in self.flags:', "if False:"),
    ("dependency: an empty chain is circular (SDK)", SDK, "if not isinstance(chain, list) or not chain:", "if not isinstance(chain, list):"),
    ("dependency: an undecided one is inconclusive (SDK)", SDK, "stop(left & (value < 0), INCONCLUSIVE)", "stop(left & (value < 0), NO)"),
    ("dependency: malformed is a plain no (SDK)", SDK, "or not item.key or item.value is None:\n            return self._all(NO)", "or not item.key or item.value is None:\n            return self._all(INCONCLUSIVE)"),
    ("sets: a later match wins over an earlier doubt (SDK)", SDK, "doubtful |= self._condition(", "found.give_up(doubtful, INCONCLUSIVE)\n            doubtful |= self._condition("),
    ("sets: a no decides after a doubt (SDK)", SDK, "            alive &= answers != NO", "            alive &= (answers != NO) | doubt"),
    ("sets: all filters must hold", SERVER, "holds = _both(holds, self._filter(item, aggregation))", "holds = self._filter(item, aggregation)"),
    ("properties: distinct id on the server", UNITS, 'if self.ids is not None and key == "distinct_id":', "if False:"),
    ("properties: first touch filled in", UNITS, "return filled if column is None else np.where(column.absent,", "return filled if column is None else np.where(column.absent & False,"),
    ("properties: null is not absent", COLUMNS, "item.get(key, _ABSENT)", "_ABSENT if item.get(key) is None else item[key]"),
    ("properties: true and one differ", COLUMNS, "mark: Any = (type(value), value)", "mark: Any = value"),
    ("exact: ignores case", OPERATORS, "accepted = {value_text(v).lower()", "accepted = {value_text(v)"),
    ("exact: any element of a list", OPERATORS, "for v in (wanted if isinstance(wanted, list) else [wanted])}", "for v in [wanted]}"),
    ("exact: true and false by truth", OPERATORS, "by_truth = is_truth_like(wanted) if matching_version == 1 else wanted == []", "by_truth = False"),
    ("exact: version 2 compares as text", OPERATORS, "is_truth_like(wanted) if matching_version == 1", "is_truth_like(wanted) if matching_version"),
    ("exact: absent does not match", OPERATORS, '"is_not", "not_icontains", "not_starts_with"', '"exact", "is_not", "not_icontains", "not_starts_with"'),
    ("is_not: absent matches on the server", OPERATORS, '"is_not", "not_icontains", "not_starts_with"', '"not_icontains", "not_starts_with"'),
    ("is_not: null is the text null", TEXTS, "return value if isinstance(value, str) else _json_text(value)", 'return value if isinstance(value, str) else "None" if value is None else _json_text(value)'),
    ("is_set: null is set", OPERATORS, 'return always(YES, NO) if name == "is_set"', 'return Matcher(NO, lambda v: int(v is not None)) if name == "is_set"'),
    ("is_not_set: conclusive on the server", OPERATORS, "else always(NO, YES)", "else always(NO, NO)"),
    ("no filter value matches nothing", OPERATORS, "    if wanted is None:\n        return always(NO, NO)", "    if False:\n        pass"),
    ("icontains: only A to Z folded", TEXTS, "return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)", "return text.lower()"),
    ("starts_with and ends_with", OPERATORS, "return lambda text: ascii_lower(text).startswith(folded)", "return lambda text: folded in ascii_lower(text)"),
    ("not_ends_with: absent matches", OPERATORS, '"not_ends_with", "not_icontains_multi"', '"not_icontains_multi"'),
    ("multi: any element", OPERATORS, "any(p in ascii_lower(t) for p in parts)", "all(p in ascii_lower(t) for p in parts)"),
    ("multi: inverted", OPERATORS, 'name[0] == "n"', "False"),
    ("regex: anywhere", OPERATORS, "pattern.search(t) is not None", "pattern.match(t) is not None"),
    ("regex: invalid matches neither way", OPERATORS, "return always(NO, absent)\n        return Matcher(absent, _text_answer(lambda t: pattern", "return always(absent, absent)\n        return Matcher(absent, _text_answer(lambda t: pattern"),
    ("regex: the end is the very end", PATTERNS, 'self.out.append("\\\\Z" if sign == "$" else sign)', "self.out.append(sign)"),
    ("regex: look-around is left to the server (SDK)", PATTERNS, 'if self._next(2) != "?:":', "if False:"),
    ("numbers: strictness", OPERATORS, '"gte": op.ge', '"gte": op.gt'),
    ("numbers: texts count", TEXTS, "return _float(text) if _SERVER_NUMBER.fullmatch(text) else None", "return None"),
    ("numbers: infinity on the server", TEXTS, "(?:inf|infinity|nan)", "(?:nan)"),
    ("numbers: true is none", TEXTS, "if isinstance(value, int | float) and not isinstance(value, bool):", "if isinstance(value, int | float):"),
    ("between: inclusive", OPERATORS, "int((low <= number <= high) != inverted)", "int((low <= number < high) != inverted)"),
    ("between: inclusive in columns", OPERATORS, "((values >= low) & (values <= high))", "((values > low) & (values <= high))"),
    ("between: NaN matches neither", OPERATORS, "if number is None or math.isnan(number):", "if number is None:"),
    ("between: bounds in order", OPERATORS, "or bounds[0] > bounds[-1]:", "or False:"),
    ("not_between: absent matches", OPERATORS, '    "not_between",\n', ""),
    ("dates: strict", OPERATORS, '"is_date_before": op.lt', '"is_date_before": op.le'),
    ("dates: is_date_exact", OPERATORS, '"is_date_exact": op.eq', '"is_date_exact": op.ge'),
    ("dates: team zone on the server", DATES, "zone = self.tzinfo()\n", "zone = timezone.utc\n"),
    ("dates: epoch seconds of a person", DATES, "    if seconds is not None:\n        return _epoch_nanoseconds(seconds)", "    if False:\n        pass"),
    ("dates: the filter must be text", OPERATORS, "if isinstance(wanted, str) else None\n    if bound is None:\n        return always(NO, NO)\n\n    def answer(value: Any) -> int:\n        moment", "if True else None\n    if bound is None:\n        return always(NO, NO)\n\n    def answer(value: Any) -> int:\n        moment"),
    ("dates: months shrink step by step", DATES, "    for _ in range(0, months, step):", "    for _ in range(0, months, months or 1):\n        step = months"),
    ("dates: fewer than ten thousand units", DATES, "int(match[1]) >= 10_000", "int(match[1]) > 10_000"),
    ("dates: always the past", DATES, "return now - timedelta(hours=number * hours)", "return now + timedelta(hours=number * hours)"),
    ("dates: no other units", DATES, "-?([0-9]+)([hdwmy])", "[+-]?([0-9]+)([hdwmy])"),
    ("dates: numbers leave the SDK in doubt", DATES, "return sdk_date(value, clock, relative=False) if isinstance(value, str) else None", "return sdk_date(value, clock, relative=False)"),
    ("versions: pre-releases are ordered on the server", SEMVER, "return parts, (0 if before else 1, _ordered(before)), _ordered(after)", "return parts, (1, ()), ()"),
    ("versions: numbers before words in pre-releases", SEMVER, '(0, int(item), len(item), "") if item.isdigit()', '(2, int(item), len(item), "") if item.isdigit()'),
    ("versions: leading zeros stripped on the server", SEMVER, 'return (part.lstrip("0") or "0") if part.isascii()', "return part if part.isascii()"),
    ("versions: missing parts are zero", SEMVER, '".".join(parts + ["0"] * (3 - len(parts)))', '".".join(parts)'),
    ("versions: v stripped", SEMVER, 'text.removeprefix("v").strip()', "text.strip()"),
    ("versions: tilde", SEMVER, 'if operator == "semver_tilde":\n        above = (major, minor + 1, 0)', 'if operator == "semver_tilde":\n        above = (major + 1, 0, 0)'),
    ("versions: caret below one", SEMVER, "    elif minor:\n        above = (0, minor + 1, 0)", "    elif minor:\n        above = (1, 0, 0)"),
    ("versions: wildcard", SEMVER, "return (*_from_to(numbers), None)", "return (*_from_to([*numbers, 0]), None)"),
    ("versions: pre-releases only in their own range", SEMVER, "    return is_release\n", "    return True\n"),
    ("versions: the SDK refuses leading zeros", SEMVER, 'or (len(part) > 1 and part[0] == "0"):\n        raise', "or False:\n        raise"),
    ("versions: the SDK drops pre-releases", SEMVER, '.split("-")[0].split("+")[0]', ".split('+')[0]"),
    ("SDK: absent is inconclusive", SDK_OPERATORS, "return Matcher(INCONCLUSIVE, answer, exact_texts(accepted", "return Matcher(NO, answer, exact_texts(accepted"),
    ("SDK: is_not_set is conclusive where it is set", SDK_OPERATORS, 'return always(YES if name == "is_set" else NO, INCONCLUSIVE)', "return always(YES, INCONCLUSIVE)"),
    ("SDK: null version does not match", SDK_OPERATORS, "        if value is None:\n            return NO\n        try:\n            version", "        if False:\n            return NO\n        try:\n            version"),
    ("SDK: an unreadable number filter is inconclusive", SDK_OPERATORS, "    if bound is None:\n        return _CANNOT_TELL", "    if bound is None:\n        return always(NO, INCONCLUSIVE)"),
    ("SDK: values without JSON are inconclusive", SDK_OPERATORS, "except (NotJsonError, NotPortableError):\n            return INCONCLUSIVE", "except (NotJsonError, NotPortableError):\n            return NO"),
    ("columns: letters beyond ASCII one by one", MATCHER, 'return self.place != "equal"', "return True"),
    ("columns: absent rows of a long column", COLUMNS, "        if self.values.null_count:\n            found[self.absent] = matcher.absent", "        pass"),
    ("audit: shares with an inclusive grid and no sum over sets", "audit/shares.py", "if admitted > reached:", "if True:"),
]  # fmt: skip


def module_of(file: str):
    return sys.modules["canarykit." + file.removesuffix(".py").replace("/", ".")]


def break_rule(file: str, before: str, after: str) -> None:
    """Put the changed source of a module into its loaded functions, methods and constants."""
    module = module_of(file)
    source = Path(module.__file__).read_text(encoding="utf-8").replace(before, after, 1)
    fresh = {"__name__": module.__name__, "__file__": module.__file__, "__package__": module.__package__}
    exec(compile(source, module.__file__, "exec"), fresh)
    for name, new in fresh.items():
        old = module.__dict__.get(name)
        if isinstance(old, type) and old.__module__ == module.__name__:
            for attribute, changed in vars(new).items():
                graft(vars(old).get(attribute), changed)
        elif not graft(old, new) and not name.startswith("__") and type(old) is type(new):
            for other in [m for key, m in sys.modules.items() if key.startswith("canarykit")]:
                if other.__dict__.get(name) is old:
                    setattr(other, name, new)


def graft(old, new) -> bool:
    """Give a function, in whatever it is wrapped, the code of another."""
    if isinstance(old, classmethod | staticmethod):
        return graft(old.__func__, new.__func__)
    if isinstance(old, property):
        return graft(old.fget, new.fget)
    if isinstance(old, cached_property):
        return graft(old.func, new.func)
    if hasattr(old, "cache_clear"):
        old.cache_clear()
        return graft(old.__wrapped__, new.__wrapped__)
    if isinstance(old, FunctionType) and isinstance(new, FunctionType):
        if old.__module__ == new.__module__:
            old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__
        return True
    return False


def nearest_first(file: str, items: list) -> list:
    """The tests in the order in which they are likely to notice."""
    columns, cases, assign, audit, sdk = TESTS
    order = [assign, cases, audit, columns, sdk]
    if file.startswith("assign/sdk"):
        order = [cases, assign, sdk, columns, audit]
    elif file.startswith("audit/"):
        order = [audit, assign, cases, columns, sdk]
    elif file.startswith("targeting/") and file != UNITS:
        order = [columns, cases, assign, audit, sdk]
    rank = {name: position for position, name in enumerate(order)}
    return sorted(items, key=lambda item: rank[next(name for name in TESTS if item.nodeid.split("::")[0].endswith(name))])


def first_failure(items: list, file: str, before: str, after: str) -> str | None:
    """The first test that fails once the rule is broken, found in a process of its own."""
    read, write = os.pipe()
    if os.fork() == 0:
        found = "the mutation could not be applied"
        try:
            break_rule(file, before, after)
            found, ordered = "", nearest_first(file, items)
            for item, following in zip(ordered, [*ordered[1:], None], strict=True):
                reports = runtestprotocol(item, nextitem=following, log=False)
                if any(report.failed for report in reports):
                    found = item.nodeid
                    break
        finally:
            os.write(write, found.encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = pipe.read()
    os.wait()
    return found or None


class Mutator:
    """Runs every mutation instead of every test."""

    def __init__(self, words: list[str]) -> None:
        self.chosen = [m for m in MUTATIONS if not words or any(word in m[0] for word in words)]
        self.rows: list[tuple[str, str, str | None]] = []

    def pytest_runtestloop(self, session):
        warnings.simplefilter("ignore")
        for rule, file, before, after in self.chosen:
            if before not in Path(module_of(file).__file__).read_text(encoding="utf-8"):
                raise SystemExit(f"{rule}: {file} no longer holds {before!r}")
            caught = first_failure(session.items, file, before, after)
            self.rows.append((rule, file, caught))
            test = "**not caught**" if caught is None else f"`{caught.removeprefix('tests/').split('[')[0]}`"
            os.write(2, f"| {rule} | `{file}` | {test} |\n".encode())
        return True


def main(words: list[str]) -> int:
    mutator = Mutator(words)
    options = ["-p", "no:cacheprovider", "-k", "not spark and not picture"]
    pytest.main([*options, *(str(ROOT / "tests" / name) for name in TESTS)], plugins=[mutator])
    caught = sum(test is not None for _, _, test in mutator.rows)
    os.write(2, f"{caught} of {len(mutator.rows)} mutations were caught\n".encode())
    return int(caught < len(mutator.chosen))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
