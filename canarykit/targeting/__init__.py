"""Property filters over columns: operators, dates, versions and patterns, with server and SDK semantics."""
