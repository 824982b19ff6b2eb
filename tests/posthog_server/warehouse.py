"""Queries of a project: parsed by PostHog's own grammar, refused by its rules, run on real ClickHouse."""

import json
import re
import sys
import threading
import types

from tests.posthog_server.model import RefusedError

MOST_ROWS, DEFAULT_ROWS = 50_000, 100
TABLES = {"events", "persons", "person_distinct_ids", "groups"}


def load_grammar():
    """hogql_parser without PostHog's Django tree, whose errors it imports when it is loaded."""
    names = ("posthog", "posthog.hogql", "posthog.hogql.errors")
    saved = {name: sys.modules.get(name) for name in names}

    class BaseHogQLError(Exception):
        def __init__(self, message=None, **further):
            super().__init__(message)
            self.__dict__.update(message=message, **further)

    package, hogql, errors = map(types.ModuleType, names)
    package.__path__, hogql.__path__ = [], []
    errors.BaseHogQLError = BaseHogQLError
    for kind in ("ExposedHogQL", "Syntax", "Parsing", "NotImplemented", "InternalHogQL", "Query"):
        setattr(errors, f"{kind}Error", type(f"{kind}Error", (BaseHogQLError,), {}))
    package.hogql, hogql.errors = hogql, errors
    sys.modules.update(dict(zip(names, (package, hogql, errors), strict=True)))
    try:
        import hogql_parser
    finally:
        for name, module in saved.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
    return hogql_parser


class AsText(str):
    """An answer that is JSON already."""


class Warehouse:
    """Events, persons and groups in ClickHouse. One session a process: chdb allows no second one."""

    _session = None
    _lock = threading.RLock()

    def __init__(self, zone="UTC"):
        from chdb import session

        self.zone, self.grammar, self.seen = zone, load_grammar(), []
        with self._lock:
            if Warehouse._session is None:
                Warehouse._session = session.Session()
            self.run("drop database if exists hog")
            self.run("create database hog engine=Atomic")
            self.run("use hog")
            self.run(
                "create table stored_events (uuid UUID, event String, distinct_id String, person_id UUID, "
                "properties String, timestamp DateTime64(6, 'UTC'), created_at DateTime64(6, 'UTC')) "
                "engine=MergeTree order by (toDate(timestamp), timestamp)"
            )
            self.run(
                "create table stored_persons (id UUID, properties String, created_at DateTime64(6, 'UTC')) "
                "engine=MergeTree order by id"
            )
            self.run(
                "create table person_distinct_ids (distinct_id String, person_id UUID) "
                "engine=MergeTree order by distinct_id"
            )
            self.run("create table groups (`index` UInt8, key String, properties String) engine=Memory")

    def run(self, sql, kind="JSONCompact"):
        with self._lock:
            return Warehouse._session.query(sql, kind)

    def load(self, events, persons=None, groups=None):
        """Parquet files in the form of the batch exports."""
        times = "toDateTime64(timestamp, 6, 'UTC'), toDateTime64(created_at, 6, 'UTC')"
        self.run(
            "insert into stored_events "
            "select toUUID(uuid), event, distinct_id, toUUID(person_id), properties, "
            f"{times} from file('{events}', Parquet)"
        )
        if persons:
            self.run(
                "insert into stored_persons select toUUID(person_id), any(properties), any(created_at) "
                f"from file('{persons}', Parquet) group by person_id"
            )
            self.run(
                "insert into person_distinct_ids select distinct_id, toUUID(person_id) "
                f"from file('{persons}', Parquet)"
            )
        if groups:
            self.run(
                "insert into groups select group_type_index, group_key, group_properties "
                f"from file('{groups}', Parquet)"
            )

    def count(self, table="stored_events"):
        return int(json.loads(str(self.run(f"select count() from {table}")))["data"][0][0])

    def answer(self, body):
        """The answer to one HogQLQuery."""
        query = body["query"]
        if query.get("kind") != "HogQLQuery":
            raise RefusedError(400, "invalid_input", f"Unsupported query kind: {query.get('kind')}")
        text = query["query"]
        tree = self._parsed(text)
        if _has(tree, lambda node: node.get("node") == "SelectQuery" and node.get("offset")):
            words = "OFFSET is not supported on queries made with a personal API key"
            raise RefusedError(400, "invalid_input", words)
        for table in _tables(tree):
            if table not in TABLES:
                raise RefusedError(400, "invalid_input", f"Unknown table `{table}`.")
        limit = (tree.get("limit") or {}).get("value")
        if limit is None:
            text += f" limit {DEFAULT_ROWS}"
        elif limit > MOST_ROWS:
            text = re.sub(rf"limit\s+{limit}\s*$", f"limit {MOST_ROWS}", text, flags=re.IGNORECASE)
        self.seen.append(text)
        in_zone = (query.get("modifiers") or {}).get("convertToProjectTimezone", True)
        names, kinds, *rows = self._run_in_zone(_filled(text, query.get("values") or {}), in_zone)
        columns = json.loads(names)
        said = {
            "columns": columns,
            "types": [list(pair) for pair in zip(columns, json.loads(kinds), strict=True)],
        }
        said |= {"is_cached": False} | ({} if limit is not None else {"hasMore": len(rows) == DEFAULT_ROWS})
        # ClickHouse's rows are JSON already: they are handed on as they are.
        return AsText(f'{json.dumps(said)[:-1]}, "results": [{", ".join(rows)}]}}')

    def _parsed(self, text):
        try:
            tree = json.loads(self.grammar.parse_select_json(text))
        except Exception as problem:
            raise RefusedError(400, "invalid_input", str(problem)[:200]) from None
        if tree.get("error"):
            raise RefusedError(400, "invalid_input", str(tree.get("message"))[:200])
        return tree

    def _run_in_zone(self, sql, in_zone):
        """PostHog wraps every time column in the project's zone, unless it is asked not to."""
        zone = self.zone if in_zone else "UTC"
        views = "".join(
            f"{name} as (select * except ({', '.join(times)}), "
            + ", ".join(f"toTimeZone({time}, '{zone}') as {time}" for time in times)
            + f" from stored_{name}), "
            for name, times in (("events", ["timestamp", "created_at"]), ("persons", ["created_at"]))
        )
        try:
            answer = self.run(f"with {views.rstrip(', ')} {sql}", "JSONCompactEachRowWithNamesAndTypes")
            return str(answer).splitlines()
        except RuntimeError as problem:
            words = "ClickHouse error while executing query."
            raise RefusedError(500, "error", f"{words} {str(problem)[:200]}") from None

    def parquet(self, since, until, names=None):
        """What a file download export holds."""
        listed = "" if names is None else f" and event in ({', '.join(map(_literal, names))})"
        between = [f"parseDateTime64BestEffort({_literal(time)}, 6, 'UTC')" for time in (since, until)]
        sql = (
            "select toString(uuid) as uuid, event, distinct_id, toString(person_id) as person_id, "
            "properties, timestamp, created_at from stored_events "
            f"where timestamp >= {between[0]} and timestamp < {between[1]}{listed} order by timestamp, uuid"
        )
        return self.run(sql, "Parquet").bytes()


def _filled(text, values):
    """`{name}` as a typed constant, as PostHog's placeholders are."""
    return re.sub(r"\{(\w+)\}", lambda match: _literal(values[match[1]]), text)


def _literal(value):
    if isinstance(value, list):
        return "(" + ", ".join(map(_literal, value)) + ")"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return json.dumps(value)


def _has(node, wanted):
    if isinstance(node, dict):
        return bool(wanted(node)) or any(_has(child, wanted) for child in node.values())
    return isinstance(node, list) and any(_has(child, wanted) for child in node)


def _tables(node):
    if isinstance(node, dict):
        if node.get("node") == "JoinExpr" and isinstance(node.get("table"), dict):
            chain = node["table"].get("chain")
            if chain:
                yield chain[0]
        for child in node.values():
            yield from _tables(child)
    elif isinstance(node, list):
        for child in node:
            yield from _tables(child)
