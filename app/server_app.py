"""The ServerApp: what Flower loads on the server."""

from __future__ import annotations

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from app.server.job import run_job

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one job; raises if it fails, after writing why into the run directory."""
    run_job(grid, context.run_config)
