"""The report of one stage: reasons, sections, the page, the audit record."""
