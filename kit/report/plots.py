"""Draw the plots of all pages in one style: SVG whose ink follows the page, light or dark."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
import pandas as pd
from markupsafe import Markup

from kit.errors import counted
from kit.evaluation.curves import NUMBERS, Curves, Reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")

# Okabe & Ito 2008, "Color universal design": told apart with any color vision. Gray replaces their yellow,
# which does not show on a white page.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A8A8A")
MAIN, SECOND = PALETTE[0], PALETTE[5]
INK = "#010203"  # written as currentColor, which is dark on a light page and light on a dark one
HEAT = "viridis"
MAX_POINTS = 2000  # of a scatter plot; a page with more points opens slowly
NAMED_CLASSES = 30  # in a heat map; with more, names are small, rows are ordered, and the page can zoom
POINT = 72  # per inch
NAMED_POINTS = 15  # in a scatter plot of submissions; with more, names overlap
THIN, THICK = 0.9, 2.2
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may hold dollar signs
    "svg.hashsalt": "kit",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.labelcolor": INK,
}


def plot(draw: Callable[P, tuple[Figure, str]]) -> Callable[P, Markup]:
    """Make a function that draws a figure return SVG, in the style of all pages, the same bytes every time.

    Args:
        draw: Returns the figure, and what it shows, for people who do not see it.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Markup:
        import matplotlib

        buffer = io.StringIO()
        with matplotlib.rc_context(STYLE):
            figure, about = draw(*args, **kwargs)
            with warnings.catch_warnings():
                warnings.filterwarnings(
                    "ignore", "Glyph"
                )  # the browser draws the text, with fonts of its own
                figure.savefig(buffer, format="svg", metadata={"Date": None})
        text = buffer.getvalue()
        shown = text[text.index("<svg") :].replace(INK, "currentColor")
        return Markup(shown.replace("<svg ", f'<svg role="img" aria-label="{Markup.escape(about)}" ', 1))

    return drawn


def panels(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """Return a figure of a size in inches, and its panel, or panels beside each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns)


@plot
def learning_curves(histories: Mapping[int, pd.DataFrame], metric: str) -> tuple[Figure, str]:
    """Return loss, score and learning rate by epoch: each fold thin, the mean thick."""
    figure, parts = panels(10, 2.8, columns=3)
    titles = {"loss": "training loss", "score": f"validation {metric}", "lr": "learning rate"}
    for panel, (column, title) in zip(parts, titles.items(), strict=True):
        for history in histories.values():
            panel.plot(history["epoch"], history[column], color=INK, linewidth=THIN, alpha=0.35)
        mean = pd.concat(histories.values()).groupby("epoch")[column].mean()
        panel.plot(mean.index, mean, color=MAIN, linewidth=THICK)
        panel.set_title(title)
        panel.set_xlabel("epoch")
        panel.locator_params(axis="x", integer=True)
    folds = counted(len(histories), "fold")
    return figure, f"Learning curves of {folds}: training loss, validation {metric}, learning rate"


@plot
def class_curves(curves: Curves) -> tuple[Figure, str]:
    """Return ROC, precision over recall and reliability."""
    figure, (roc, precision, reliability) = panels(10, 3.3, columns=3)
    _class_panel(roc, curves.roc, curves.mean_roc, "ROC", "false positive rate", "true positive rate")
    roc.plot([0, 1], [0, 1], color=INK, linewidth=THIN, alpha=0.4)
    _class_panel(
        precision, curves.precision, curves.mean_precision, "Precision by recall", "recall", "precision"
    )
    reliability.plot([0, 1], [0, 1], color=INK, linewidth=THIN, alpha=0.4)
    _reliability(reliability, curves.before, "models", MAIN)
    if curves.after is not None:
        _reliability(reliability, curves.after, "after postprocessing", SECOND)
    reliability.set(title="Reliability", xlabel="stated probability", ylabel="share that is right")
    reliability.legend(fontsize=8)
    return figure, "ROC, precision by recall, and reliability"


def _class_panel(
    panel: Any,
    by_class: Mapping[str, np.ndarray],
    mean: np.ndarray | None,
    title: str,
    across: str,
    up: str,
) -> None:
    for number, (name, values) in enumerate(by_class.items()):
        color = PALETTE[number % len(PALETTE)]
        panel.plot(NUMBERS, values, color=color, linewidth=THIN, alpha=0.8, label=_short(name))
    if mean is not None:
        panel.plot(NUMBERS, mean, color=INK, linewidth=THICK, label="mean of all")
    panel.set(title=title, xlabel=across, ylabel=up, xlim=(0, 1), ylim=(0, 1.02))
    panel.legend(fontsize=7)


def _reliability(panel: Any, values: Reliability, name: str, color: str) -> None:
    label = f"{name}: error {values.error:.3f}"
    panel.plot(values.stated, values.observed, color=color, linewidth=THICK, marker="o", ms=4, label=label)


@plot
def confusion_heat_map(table: pd.DataFrame) -> tuple[Figure, str]:
    """Return a confusion table as a heat map, each row divided by its sum.

    With more than ``NAMED_CLASSES`` classes, rows are ordered by clustering: confused ones are adjacent.
    Names are as large as a row; with many classes they are read when the page is zoomed.

    Args:
        table: Rows are true classes, columns predicted ones.
    """
    counts = table.to_numpy(dtype=np.float64)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    names = [str(name) for name in table.index]
    if len(names) > NAMED_CLASSES:
        order = confused_neighbors(shares)
        shares, names = shares[np.ix_(order, order)], [names[i] for i in order]
    side = min(9.0, 2.5 + 0.24 * len(names))
    figure, panel = panels(side + 1.5, side)
    image = panel.imshow(shares, cmap=HEAT, vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=panel, shrink=0.6, label="share of the row")
    panel.grid(visible=False)
    panel.set(xlabel="predicted", ylabel="true")
    shown, size = [_short(name) for name in names], min(8.0, 0.7 * side * POINT / len(names))
    panel.set_xticks(np.arange(len(names)), shown, rotation=90, fontsize=size)
    panel.set_yticks(np.arange(len(names)), shown, fontsize=size)
    panel.tick_params(width=min(0.8, size / 8), length=min(3.5, size), pad=min(3.5, size))
    return figure, f"Confusion matrix of {counted(len(names), 'class', 'classes')}"


def confused_neighbors(shares: np.ndarray) -> np.ndarray:
    """Return an order of the classes (C,) that puts classes often confused next to each other."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    both = shares + shares.T
    distance = 1 / (1 + 20 * both)
    np.fill_diagonal(distance, 0)
    order: np.ndarray = leaves_list(linkage(squareform(distance, checks=False), "average"))
    return order


@plot
def blend_members(members: Sequence[Mapping[str, Any]]) -> tuple[Figure, str]:
    """Return the weight of each member of a blend, and what the blend loses without it.

    Args:
        members: ``label``, ``weight`` (None: the method has none) and ``cost_of_dropping`` of each.
    """
    names = [_short(each["label"].split("/")[-1], 28) for each in members]
    losses = [each["cost_of_dropping"] for each in members]
    drawn = {"loss of score without the member": losses}
    if all(each["weight"] is not None for each in members):
        drawn = {"weight": [each["weight"] for each in members], **drawn}
    figure, parts = panels(5 * len(drawn), 0.9 + 0.28 * len(names), columns=len(drawn))
    places = np.arange(len(names))[::-1]  # the first on top
    for number, (panel, (title, values)) in enumerate(zip(np.atleast_1d(parts), drawn.items(), strict=True)):
        panel.barh(places, values, color=[MAIN if value >= 0 else SECOND for value in values])
        panel.axvline(0, color=INK, linewidth=THIN)
        panel.set(title=title, yticks=places, yticklabels=[""] * len(names) if number else names)
        panel.grid(visible=False, axis="y")
        panel.locator_params(axis="x", nbins=5)
    return figure, f"{' and '.join(drawn)}, of {counted(len(names), 'member')}"


@plot
def cv_against_leaderboard(points: pd.DataFrame, fit: pd.DataFrame | None, board: str) -> tuple[Figure, str]:
    """Return leaderboard scores over CV, with the fitted line and its band.

    Args:
        points: ``name``, ``cv``, ``score`` and ``selected`` of each submission.
        fit: ``cv``, ``score``, ``low`` and ``high`` along the line; None: too few points.
        board: ``public`` or ``private``.
    """
    figure, panel = panels(6.5, 4.5)
    if fit is not None:
        panel.fill_between(fit["cv"], fit["low"], fit["high"], color=MAIN, alpha=0.15, linewidth=0)
        panel.plot(fit["cv"], fit["score"], color=MAIN, linewidth=THIN, label="least squares, 95 % band")
    panel.scatter(points["cv"], points["score"], s=28, color=MAIN, zorder=3)
    selected = points[points["selected"]]
    if len(selected):
        panel.scatter(
            selected["cv"], selected["score"], s=130, facecolors="none", edgecolors=SECOND, linewidths=THICK,
            zorder=4, label="to select",
        )  # fmt: skip
    named = points if len(points) <= NAMED_POINTS else selected
    for name, cv, score in zip(named["name"], named["cv"], named["score"], strict=True):
        panel.annotate(
            _short(name), (cv, score), xytext=(6, 5), textcoords="offset points", fontsize=8, color=INK
        )
    panel.set(xlabel="CV", ylabel=f"{board} leaderboard")
    panel.margins(0.12)
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=8)
    return figure, f"{board} leaderboard score over CV of {counted(len(points), 'submission')}"


@plot
def scatter(residuals: pd.DataFrame) -> tuple[Figure, str]:
    """Return predicted against true numbers; on the line the prediction is exact."""
    shown = residuals.sample(min(len(residuals), MAX_POINTS), random_state=0)
    rest = f" ({len(shown)} of {counted(len(residuals), 'image')})" if len(shown) < len(residuals) else ""
    ends = [residuals[["true", "predicted"]].min().min(), residuals[["true", "predicted"]].max().max()]
    figure, panel = panels(4.5, 4.5)
    panel.plot(ends, ends, color=INK, linewidth=THIN, alpha=0.4)
    panel.scatter(shown["true"], shown["predicted"], s=8, alpha=0.5, color=MAIN)
    panel.set(xlabel=f"true{rest}", ylabel="predicted, out of fold")
    return figure, "Predicted against true numbers"


def _short(name: str, most: int = 18) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
