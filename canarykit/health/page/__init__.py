"""A report as a page of its own: the first screen, what is folded beneath, and a release as a timeline.

A page is one self-contained HTML file: its own styles, inline pictures with alternative texts, no scripts. It
opens anywhere, at any width, by day and by night, prints on paper, and is light enough to mail. Every text
that came from a log or a plan is escaped.
"""
