"""Which reviews are learned, validated and tested, and the proof that none of them leaks, for training and evaluation alike."""
