"""What a run says of time: who trained when, from which model, and when it counted."""
