"""What a finished funnel is asked: rates, times, people, comparisons, correlations."""
