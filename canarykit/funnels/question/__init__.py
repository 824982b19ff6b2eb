"""What is asked of a funnel: its specification, and how it is read from arguments or PostHog's JSON."""
