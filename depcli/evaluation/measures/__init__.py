"""What is measured of a method: metrics of its texts, how well it foresees the real review, and what it knows of the person."""

ALIGNMENT, BERTSCORE, JUDGE = "alignment", "bertscore", "judge"  # as they are called in results, beside those of metrics.METRICS
