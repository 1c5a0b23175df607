"""The plots of the understanding report, and the numbers in them. Labels reach plotly escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from infra.training.calibrate import BINS, calibration_gap, macro_f1
from infra.training.verdict import interval95

Classes = NDArray[np.int64]
Floats = NDArray[np.float64]
Interval = tuple[float, float]

MOST_LABELS = 30
REPEATS = 500
POOLED, UNKNOWN = "all others", "not in training"
INK, SOFT, LINE, OURS, WARM = "#1c2430", "#5b6675", "#dfe4ea", "#1f5fa8", "#b3531b"
FONT = 'system-ui, "Noto Sans CJK SC", "Noto Sans SC", "PingFang SC", "Microsoft YaHei", sans-serif'
_BLUES = [[0.0, "#ffffff"], [0.05, "#e3edf8"], [0.35, "#8db5e0"], [1.0, "#174a85"]]


@dataclass(frozen=True)
class Bin:
    """The texts whose confidence lies in one of `BINS` equal parts of 0 to 1."""

    count: int
    confidence: float
    accuracy: float
    low: float
    high: float


def bins(confidence: NDArray[Any], right: NDArray[np.bool_]) -> list[Bin]:
    """The bins that hold any text, as `expected_calibration_error` takes them; 95 % intervals of the accuracy."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    found = []
    for one in range(BINS):
        inside = place == one
        if count := int(inside.sum()):
            hits = int(right[inside].sum())
            low, high = interval95(hits, count)
            found.append(Bin(count, float(confidence[inside].mean()), hits / count, low, high))
    return found


def risk_coverage(confidence: NDArray[Any], right: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Share of texts answered, surest first, and share of wrong answers among them; both (n,)."""
    order = np.argsort(-confidence, kind="stable")
    count = np.arange(1, len(order) + 1)
    return count / len(order), np.cumsum(~right[order]) / count


def resampled(n: int, measure: Callable[[NDArray[np.int64]], float], seed: int = 0) -> Interval:
    """The 95 % percentile interval of `measure` over `REPEATS` samples of `n` rows with replacement."""
    generator = np.random.default_rng(seed)
    values = [measure(generator.integers(0, n, n)) for _ in range(REPEATS)]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def accuracy_interval(truth: Classes, predicted: Classes) -> Interval:
    """Wilson's interval."""
    return interval95(int((truth == predicted).sum()), len(truth))


def macro_f1_interval(truth: Classes, predicted: Classes) -> Interval:
    """By resampling the rows."""
    return resampled(len(truth), lambda rows: macro_f1(truth[rows], predicted[rows]))


def ece_interval(confidence: NDArray[Any], right: NDArray[np.bool_], ece: float) -> Interval:
    """By resampling the rows, widened to hold `ece` itself: a sample of a sample looks worse calibrated than it is."""
    low, high = resampled(len(right), lambda rows: calibration_gap(confidence[rows], right[rows]))
    return min(low, ece), max(high, ece)


def lead_interval(truth: Classes, ours: Classes, other: Classes) -> tuple[float, Interval]:
    """By how much more often we are right than the other on the same rows, and its interval by resampling them."""
    lead = (ours == truth).astype(np.float64) - (other == truth)
    return float(lead.mean()), resampled(len(lead), lambda rows: float(lead[rows].mean()))


def confusion(truth: Classes, predicted: Classes, labels: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Counts (truth, predicted) of the `MOST_LABELS` labels with most rows and of the others together.

    The last row holds texts whose label training never saw; it has no column, and is absent where there are none.
    """
    counts = np.bincount(truth[truth >= 0], minlength=len(labels))
    order = np.argsort(-counts, kind="stable")
    shown = order[:MOST_LABELS]
    place = np.full(len(labels) + 1, len(shown))
    place[shown] = np.arange(len(shown))
    place[-1] = len(shown) + 1
    table = np.zeros((len(shown) + 2, len(shown) + 1), np.int64)
    np.add.at(table, (place[truth], place[predicted]), 1)
    names = [labels[one] for one in shown] + [POOLED, UNKNOWN]
    rows = [*range(len(shown)), *([len(shown)] if len(order) > len(shown) else [])]
    columns = list(rows)
    if (truth < 0).any():
        rows.append(len(shown) + 1)
    return table[np.ix_(rows, columns)], [names[one] for one in rows]


def _figure(height: int, **layout: Any) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 20, "t": 16, "b": 50},
        paper_bgcolor="#fff",
        plot_bgcolor="#fff",
        font={"family": FONT, "size": 13, "color": INK},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"font": {"family": FONT}},
        **layout,
    )
    axes = {"gridcolor": LINE, "linecolor": SOFT, "zeroline": False, "automargin": True, "ticks": "outside"}
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes)
    return figure


def reliability_figure(found: Sequence[Bin]) -> go.Figure:
    """Accuracy over confidence, and how many texts stand behind each point."""
    figure = _figure(
        460,
        xaxis={"title": "confidence of the head", "range": [0, 1.02], "tickformat": ".0%", "anchor": "y2"},
        yaxis={"title": "share right", "range": [-0.02, 1.05], "tickformat": ".0%", "domain": [0.34, 1]},
        yaxis2={"title": "texts", "domain": [0, 0.24], "rangemode": "tozero"},
    )
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="as sure as it is right", line={"color": SOFT, "dash": "dash"}
    )
    error = {
        "array": [one.high - one.accuracy for one in found],
        "arrayminus": [one.accuracy - one.low for one in found],
        "color": OURS,
        "thickness": 1.2,
    }
    figure.add_scatter(
        x=[one.confidence for one in found],
        y=[one.accuracy for one in found],
        error_y=error,
        mode="lines+markers",
        name="this head, 95 % interval",
        line={"color": OURS},
        marker={"size": 8},
        customdata=[one.count for one in found],
        hovertemplate="sure by %{x:.1%}, right in %{y:.1%} of %{customdata} texts<extra></extra>",
    )
    centres = [(min(int(one.confidence * BINS), BINS - 1) + 0.5) / BINS for one in found]
    figure.add_bar(
        x=centres,
        y=[one.count for one in found],
        width=0.9 / BINS,
        yaxis="y2",
        showlegend=False,
        marker={"color": "#8db5e0"},
        text=[f"{one.count:,}" for one in found],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y} texts<extra></extra>",
    )
    return figure


def coverage_figure(confidence: NDArray[Any], right: NDArray[np.bool_], threshold: float) -> go.Figure:
    """The error among the texts that are answered, over their share; the threshold in force marked."""
    coverage, risk = risk_coverage(confidence, right)
    keep = np.unique(np.linspace(0, len(coverage) - 1, 400).astype(int))
    top = float(max(risk[len(risk) // 20 :].max(), 0.02)) * 1.25
    figure = _figure(
        400,
        xaxis={"title": "share of texts answered", "range": [0, 1.02], "tickformat": ".0%"},
        yaxis={"title": "wrong among the answered", "range": [0, min(top, 1.0)], "tickformat": ".0%"},
    )
    figure.add_scatter(
        x=coverage[keep],
        y=risk[keep],
        mode="lines",
        name="this head",
        line={"color": OURS, "width": 2.5},
        hovertemplate="%{x:.1%} answered, %{y:.1%} of them wrong<extra></extra>",
    )
    figure.add_scatter(
        x=[0, 1],
        y=[risk[-1], risk[-1]],
        mode="lines",
        name=f"without abstaining: {risk[-1]:.1%} wrong",
        line={"color": SOFT, "dash": "dash"},
        hoverinfo="skip",
    )
    answered = int((confidence >= threshold).sum())
    if answered:
        figure.add_scatter(
            x=[coverage[answered - 1]],
            y=[risk[answered - 1]],
            mode="markers",
            name=f"threshold {threshold:.2f}: {coverage[answered - 1]:.1%} answered, {risk[answered - 1]:.1%} wrong",
            marker={"color": WARM, "size": 13, "symbol": "diamond"},
            hoverinfo="name",
        )
    return figure


def confusion_figure(table: NDArray[np.int64], names: Sequence[str]) -> go.Figure:
    """A row for each true label, a column for each answer; the colour is the share of the row."""
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    size = 26 if len(names) > 15 else 36
    shown = [escape(name if len(name) <= 24 else name[:23] + "…", quote=False) for name in names]
    figure = _figure(150 + size * len(shown))
    places = list(range(len(shown)))
    figure.add_heatmap(
        z=share,
        x=places[: table.shape[1]],
        y=places,
        colorscale=_BLUES,
        zmin=0,
        zmax=1,
        xgap=1,
        ygap=1,
        showscale=False,
        text=[[str(cell) if cell else "" for cell in row] for row in table.tolist()],
        texttemplate="%{text}",
        textfont={"size": 12 if len(shown) <= 15 else 10},
        customdata=[[f"{one} → {other}" for other in shown[: table.shape[1]]] for one in shown],
        hovertemplate="%{customdata}: %{text} (%{z:.1%} of the row)<extra></extra>",
    )
    ticks = {"tickmode": "array", "showgrid": False, "ticks": ""}
    figure.update_xaxes(
        title="answered", tickvals=places[: table.shape[1]], ticktext=shown[: table.shape[1]], tickangle=-50, **ticks
    )
    figure.update_yaxes(title="true label", tickvals=places, ticktext=shown, autorange="reversed", **ticks)
    return figure


def curve_figure(curve: Sequence[dict[str, Any]]) -> go.Figure:
    """The development rows' accuracy and macro-F1 above, the losses below, over the way through the training."""
    figure = _figure(
        460,
        xaxis={"title": "of the training", "range": [-0.02, 1.02], "tickformat": ".0%", "anchor": "y2"},
        yaxis={"title": "development rows", "tickformat": ".1%", "domain": [0.56, 1]},
        yaxis2={"title": "loss (nats)", "domain": [0, 0.44]},
    )
    for key, name, colour, axis in (
        ("dev_accuracy", "accuracy", OURS, "y"),
        ("dev_macro_f1", "macro-F1", "#2f8f6b", "y"),
        ("loss", "loss in training", WARM, "y2"),
        ("dev_loss", "log loss of development rows", "#7a4fa3", "y2"),
    ):
        points = [(row["share"], row[key]) for row in curve if np.isfinite(row.get(key, np.nan))]
        if points:
            x, y = zip(*points, strict=True)
            figure.add_scatter(
                x=x, y=y, yaxis=axis, name=name, mode="lines+markers", line={"color": colour}, marker={"size": 6}
            )
    return figure


def as_html(figure: go.Figure, name: str) -> str:
    """The plot as an element of the page, which has `script` in its head."""
    return str(
        figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=name,
            config={"displayModeBar": False, "responsive": True, "scrollZoom": False},
        )
    )


def script() -> str:
    """plotly.js, for a page that needs no network."""
    return str(get_plotlyjs())
