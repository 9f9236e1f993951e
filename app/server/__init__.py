"""The server's side of a run: what is planned, who is there, the job from settings to results."""
