"""Training: prompts of real reviews through the frozen backbone, gradients into the adapter alone."""
