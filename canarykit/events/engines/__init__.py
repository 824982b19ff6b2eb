"""One file per engine: how it filters, narrows and hands out columns."""
