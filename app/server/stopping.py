"""The end of a simulation by SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

from flwr.supercore.exit.exit_handler import trigger_exit_handlers

_LATEST = 4.0  # seconds from the signal to the end of the process


def stop_with_flower() -> None:
    """Make SIGTERM run Flower's exit handlers in a simulation, where Ray takes it from Flower.

    Ray's own handler only raises ``SystemExit`` on the main thread, while the ServerApp goes on in
    another one. The signal's number still reaches a wake-up socket, which can be set on the main
    thread only: Flower loads the ClientApp there, before it starts Ray. Anywhere else this does
    nothing.
    """
    here = threading.current_thread() is threading.main_thread()
    if here and sys.argv[0].endswith("flwr-simulation"):
        listener, wake = socket.socketpair()
        wake.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=_watch, args=(listener, wake), daemon=True).start()


def _watch(listener: socket.socket, _wake: socket.socket) -> None:
    """Wait for the signal; `_wake` is held so that it stays open."""
    while signal.SIGTERM not in listener.recv(64):
        pass
    last_measure = threading.Timer(_LATEST, os._exit, (0,))
    last_measure.daemon = True
    last_measure.start()
    trigger_exit_handlers(run_before_force_exit=True)
    trigger_exit_handlers(run_before_force_exit=False)
    # Meanwhile the main thread ends Ray's processes.
    threading.main_thread().join()
    os._exit(0)
