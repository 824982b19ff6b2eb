"""Large funnels: events packed side by side, spread over buckets, scanned by compiled code."""
