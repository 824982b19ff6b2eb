"""Event logs with a known truth: behaviour, order of time, frames and export folders."""
