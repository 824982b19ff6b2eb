"""The real posthog SDK, evaluating locally against a server on loopback, must say what `evaluate_flag` says.

The server serves flag definitions and takes the captured batches; what the SDK really sends is then read
as an export and audited.
"""

import gzip
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import canarykit as ck
from canarykit.flags import Flag, FlagSet

posthog_client = import_module("posthog.client")

GROUP_TYPES = {"0": "company", "1": "team"}
KEYS = ["a", "b", "email"]
TEXTS = [
    "x",
    "X",
    "abc",
    "ABCdef",
    "true",
    "False",
    "1",
    "10",
    "2.0.0",
    "1.2.3-rc1",
    "v1.2",
    "straße",
    "STRASSE",
]
TEXTS += ["2026-09-01", "2026-09-01T00:00:00Z", "a@acme.io", "A@ACME.IO", "1e3", " 5", "nan", "", "x\n", "é"]
VALUES = [*TEXTS, True, False, 0, 1, 5, -3, 1.0, 1.5, 1e20, None, [1], ["x", "y"], {"k": 1}, []]
PATTERNS = [
    "a",
    "^a",
    "c$",
    "[a-c]+",
    "x|y",
    "(",
    r"\d+",
    r"\bx",
    "(?i)abc",
    "a{2}",
    "(a+)+",
    r"@acme\.io$",
    "x*",
    "",
]
OPERATORS = [
    "exact", "is_not", "is_set", "is_not_set", "icontains", "not_icontains", "starts_with", "ends_with",
    "not_starts_with", "not_ends_with", "regex", "not_regex", "gt", "gte", "lt", "lte", "is_date_before",
    "is_date_after", "semver_eq", "semver_neq", "semver_gt", "semver_lte", "semver_tilde", "semver_caret",
    "semver_wildcard", "between", "in", None,
]  # fmt: skip
MODES = [{"bucketing_identifier": "device_id"}, {"ensure_experience_continuity": True}]
COHORTS = [1, 2, 9]  # 9 is static: only the server knows it


class LoopbackPostHog:
    """Serves one local-evaluation payload and keeps every event it is sent."""

    def __init__(self):
        self.definitions, self.events = {"flags": [], "group_type_mapping": {}, "cohorts": {}}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def _answer(self, content):
                body = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self._answer(outer.definitions)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                outer.events += json.loads(body).get("batch", [])
                self._answer({"status": 1})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def loopback():
    server = LoopbackPostHog()
    logging.getLogger("posthog").setLevel(logging.CRITICAL)
    client = posthog_client.Client(
        "phc_test", host=server.url, secret_key="phx_test", enable_local_evaluation=False,
        flush_at=500, disable_geoip=True,
    )  # fmt: skip
    yield server, client
    client.shutdown()
    server.close()


@st.composite
def property_filters(draw):
    operator = draw(st.sampled_from(OPERATORS))
    value = draw(st.sampled_from(PATTERNS if operator in ("regex", "not_regex") else VALUES))
    if operator in ("exact", "is_not") and draw(st.booleans()):
        value = draw(st.lists(st.sampled_from(VALUES), max_size=3))
    return {"key": draw(st.sampled_from(KEYS)), "type": "person", "value": value, "operator": operator}


@st.composite
def cohort_filters(draw):
    operator = draw(st.sampled_from([{}, {"operator": "in"}, {"operator": "not_in"}, {"operator": "gt"}]))
    return {"key": "id", "type": "cohort", "value": draw(st.sampled_from(COHORTS)), **operator}


@st.composite
def flag_filters(draw, below):
    target = draw(st.sampled_from([f"f{number}" for number in range(below)] or ["absent"]))
    chains = [[target], ["f0", target], ["absent", target], []]
    return {
        "key": target, "type": "flag",
        "operator": draw(st.sampled_from(["flag_evaluates_to"] * 5 + ["exact"])),
        "value": draw(st.sampled_from([True, False, "test", "control", None])),
        "dependency_chain": draw(st.sampled_from(chains)),
    }  # fmt: skip


@st.composite
def cohorts(draw, depth=0):
    leaves = [property_filters()] + ([cohorts(depth=1)] if depth == 0 else [])
    values = [
        {**entry, "negation": True} if "key" in entry and draw(st.booleans()) else entry
        for entry in draw(st.lists(st.one_of(leaves), max_size=3))
    ]
    return {"type": draw(st.sampled_from(["AND", "OR"])), "values": values}


@st.composite
def definitions(draw, key, below):
    filters = st.one_of(property_filters(), cohort_filters(), flag_filters(below))
    groups = []
    for _ in range(draw(st.integers(0, 3))):
        share = draw(st.sampled_from([0, 10, 50, 50.5, 100, None]))
        group = {"properties": draw(st.lists(filters, max_size=2)), "rollout_percentage": share}
        group |= draw(st.sampled_from([{}, {}, {"variant": "test"}, {"variant": "nobody"}]))
        group |= draw(
            st.sampled_from([{}] * 4 + [{"aggregation_group_type_index": i} for i in (0, 1, 7, None)])
        )
        groups.append(group)
    rest = {"groups": groups}
    if draw(st.booleans()):
        rest["multivariate"] = {
            "variants": [
                {"key": "control", "rollout_percentage": 50},
                {"key": "test", "rollout_percentage": 30},
            ]
        }
    rest |= draw(st.sampled_from([{}] * 3 + [{"early_exit": True}]))
    rest |= draw(
        st.sampled_from([{}] * 6 + [{"holdout": {"id": 7, "exclusion_percentage": p}} for p in (20, 100)])
    )
    rest |= draw(
        st.sampled_from([{}] * 8 + [{"feature_enrollment": True}, {"aggregation_group_type_index": 0}])
    )
    return {
        "key": key, "filters": rest, "active": draw(st.sampled_from([True] * 9 + [False])),
        **draw(st.sampled_from([{}] * 6 + MODES)),
    }  # fmt: skip


@st.composite
def people(draw):
    rows = []
    for number in range(10):
        properties = draw(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=3))
        properties |= draw(
            st.sampled_from([{}] * 3 + [{"$feature_enrollment/f3": v} for v in (True, "true", False)])
        )
        rows.append(
            {
                "distinct_id": f"user-{draw(st.integers(0, 99_999))}-{number}", "properties": properties,
                "$group_0": draw(st.sampled_from(["g1", "g2", None])),
                "$group_1": draw(st.sampled_from(["t1", None])),
                "$device_id": draw(st.sampled_from(["d1", "d2", None])),
            }
        )  # fmt: skip
    return rows


@st.composite
def worlds(draw):
    flags = [draw(definitions(f"f{number}", number)) for number in range(4)]
    groups = {
        "company": {"g1": draw(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES)))},
        "team": {},
    }
    version = draw(st.sampled_from([1, 1, 2]))
    return flags, {"1": draw(cohorts()), "2": draw(cohorts())}, draw(people()), groups, version


def sdk_values(client, row, groups, keys):
    member_of = {name: row[f"$group_{i}"] for i, name in GROUP_TYPES.items() if row[f"$group_{i}"]}
    answers = client.evaluate_flags(
        row["distinct_id"], groups=member_of, person_properties=row["properties"],
        group_properties={name: groups[name].get(key, {}) for name, key in member_of.items()},
        device_id=row["$device_id"], only_evaluate_locally=True,
    )  # fmt: skip
    return {key: answers.get_flag(key, send_feature_flag_events=False) for key in keys}


@settings(
    max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(world=worlds())
def test_the_sdk_and_evaluate_flag_give_the_same_values(loopback, world):
    definitions, cohort_definitions, rows, groups, version = world
    server, client = loopback
    server.definitions = {
        "flags": definitions, "group_type_mapping": GROUP_TYPES, "cohorts": cohort_definitions,
        "property_matching_version": version,
    }  # fmt: skip
    client.load_feature_flags()
    flags = ck.read_flags(server.definitions)
    tables = {
        name: pd.DataFrame(
            [{"group_key": key, "properties": values} for key, values in members.items()],
            columns=["group_key", "properties"],
        )
        for name, members in groups.items()
    }
    persons = pd.DataFrame(rows).astype({"$group_0": object, "$group_1": object, "$device_id": object})
    expected = [sdk_values(client, row, groups, list(flags)) for row in rows]
    for key in flags:
        ours = ck.evaluate_flag(
            key, persons, flags=flags, groups=tables, semantics="sdk", as_of="2026-09-10T12:00:00Z"
        )
        for position, answer in enumerate(ours.itertuples()):
            value = answer.value if isinstance(answer.variant, str) else answer.value == "true"
            value = None if pd.isna(answer.value) else value
            assert value == expected[position][key], (key, rows[position], answer.reason)


def test_the_events_the_sdk_sends_are_read_and_agree_with_the_rules_to_the_last_one(loopback, tmp_path):
    server, client = loopback
    variants = [{"key": "control", "rollout_percentage": 50}, {"key": "test", "rollout_percentage": 50}]
    team = {"key": "email", "type": "person", "operator": "ends_with", "value": "@acme.io"}
    filters = {
        "groups": [
            {"properties": [team], "rollout_percentage": 100, "variant": "test"},
            {"properties": [], "rollout_percentage": 30},
        ],
        "multivariate": {"variants": variants},
        "holdout": {"id": 3, "exclusion_percentage": 10},
    }
    definition = {"id": 1, "key": "new-checkout", "active": True, "filters": filters}
    server.definitions = {"flags": [definition], "group_type_mapping": {}, "cohorts": {}}
    server.events = []
    client.load_feature_flags()
    emails = [f"person-{number}@{'acme.io' if number % 10 == 0 else 'else.org'}" for number in range(400)]
    for email in emails:
        snapshot = client.evaluate_flags(
            email, person_properties={"email": email}, only_evaluate_locally=True
        )
        snapshot.get_flag("new-checkout")
    client.flush()
    export = tmp_path / "events.jsonl"
    export.write_text("\n".join(json.dumps(event) for event in server.events), encoding="utf-8")
    persons = pd.DataFrame({"person_id": emails, "distinct_id": emails, "email": emails})
    log = ck.read_posthog(export, persons=persons)
    audit = ck.audit_assignment(log, Flag.from_posthog(definition), semantics="sdk")
    assert audit.people["person_id"].nunique() == len(emails)
    assert audit.agreement == 1.0
    assert set(audit.people["reason"]) == {"agrees"}
    assert audit.people["observed"].nunique() == 4  # false, control, test, holdout-3


def test_reading_back_what_the_sdk_was_served_changes_nothing(loopback):
    server, _ = loopback
    flags = FlagSet(map(Flag.from_posthog, server.definitions["flags"]))
    assert [flag.to_posthog() for flag in flags.values()] == server.definitions["flags"]
