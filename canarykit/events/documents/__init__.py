"""Documents of JSON text: which are read, and what their values are as text."""

from canarykit.events.documents.objects import object_columns
from canarykit.events.documents.reading import (
    LONG_NUMBER,
    ODD_VALUE,
    SUSPECT,
    UNSURE_VALUE,
    document_keys,
    is_unreadable,
    keys_of,
    odd_document,
    patched,
    pointer,
    read_document,
    unreadable,
)
from canarykit.events.documents.scan import Scanned, is_walked, json_values, scan_documents

__all__ = [
    "LONG_NUMBER",
    "ODD_VALUE",
    "SUSPECT",
    "UNSURE_VALUE",
    "Scanned",
    "document_keys",
    "is_unreadable",
    "is_walked",
    "json_values",
    "keys_of",
    "object_columns",
    "odd_document",
    "patched",
    "pointer",
    "read_document",
    "scan_documents",
    "unreadable",
]
