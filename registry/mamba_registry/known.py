"""Which distribution brings which official task; bare ids belong to these."""

from __future__ import annotations

KNOWN_TASKS = {
    "audio-sep": "mamba-audio",
    "audio-enhance": "mamba-audio",
    "audio-tag": "mamba-audio",
    "vision-cls": "mamba-vision",
    "vision-seg": "mamba-vision",
    "vision-backbone": "mamba-vision",
    "video-cls": "mamba-vision",
    "points-cls": "mamba-vision",
    "graph-cls": "mamba-graph",
    "graph-reg": "mamba-graph",
    "graph-node": "mamba-graph",
    "graph-link": "mamba-graph",
    "ts-forecast": "mamba-timeseries",
    "ts-classify": "mamba-timeseries",
    "ts-impute": "mamba-timeseries",
    "ts-anomaly": "mamba-timeseries",
    "rec-next": "mamba-recsys",
    "rec-session": "mamba-recsys",
    "language-lm": "mamba-language",
}

KNOWN_DOMAINS = {
    "audio": "mamba-audio",
    "vision": "mamba-vision",
    "video": "mamba-vision",
    "points": "mamba-vision",
    "graph": "mamba-graph",
    "ts": "mamba-timeseries",
    "rec": "mamba-recsys",
    "language": "mamba-language",
}
"""First part of a bare id -> the distribution whose ids begin with it."""


def provider(bare_id: str) -> str | None:
    """Return the official distribution a bare id belongs to, or None."""
    if "/" in bare_id:
        return None
    return KNOWN_TASKS.get(bare_id) or KNOWN_DOMAINS.get(bare_id.split("-")[0])
