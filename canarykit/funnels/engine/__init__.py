"""From events to matched steps: columns, filters, breakdowns, and the scan of one actor."""
