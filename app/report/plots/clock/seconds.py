"""An axis of clock seconds, in the unit that reads best."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from app.report.plots import style

_UNITS = ((172_800.0, 86_400.0, "days"), (7_200.0, 3_600.0, "hours"), (180.0, 60.0, "minutes"))


def seconds_axis(axes: Axes) -> None:
    """Write the x axis, which holds seconds, in seconds, minutes, hours or days."""
    last = axes.get_xlim()[1]
    unit, name = next(((u, n) for least, u, n in _UNITS if last >= least), (1.0, "seconds"))
    ticks = MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]).tick_values(0, last / unit)
    axes.set_xticks([tick * unit for tick in ticks if 0 <= tick * unit <= last * 1.0001])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit:g}"))
    axes.set_xlabel(f"Clock, {name}", fontsize=style.TEXT, color=style.MUTED)
