"""A PostHog project on loopback, as real as it gets offline.

`model` keeps the flags by the rules of PostHog's server (an older and a newer one), `app` answers through
Django REST framework with the error bodies of drf-exceptions-hog, `warehouse` parses queries with PostHog's
own grammar and runs them on ClickHouse, `serve` opens the sockets and makes faults, and `in_process` leaves
the sockets out where thousands of schedules run.
"""

from importlib.util import find_spec

NEEDED = ("django", "rest_framework", "exceptions_hog", "hogql_parser", "chdb")
MISSING = [name for name in NEEDED if find_spec(name) is None]
