"""What outlives a round: trainings under way, and updates that are of an older round."""
