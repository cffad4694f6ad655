"""The kinds of soft tokens that DEP gives a past review."""

KINDS = ("his", "diff")  # with an embedding
MARKERS = ("his_start", "his_end", "diff_start", "diff_end")
SLOTS = KINDS + MARKERS
