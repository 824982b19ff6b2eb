"""Funnels of tables that hold every event of their actors, in either form of the scans."""

from canarykit.funnels.run import finish_run, shard_run


def run_table(table, query, *, select=None, exposed=None, form=None):
    """One steps funnel over a table of `columns_needed`; form "plain" or "compiled"."""
    return finish_run([shard_run(table, query, select, exposed, form)], query, select, exposed)
