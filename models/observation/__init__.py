"""What a policy observes, computed by one function in training and in trading."""
