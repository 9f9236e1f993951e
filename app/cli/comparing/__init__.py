"""``bouquet compare``: the command, its runs, and the SuperLink under which they go."""
