"""How the page looks: fonts of the visitor's machine, nothing fetched from elsewhere."""

from __future__ import annotations

from typing import Any

CSS = """
.gradio-container { max-width: 1320px !important; margin: 0 auto; }
#heading h1 { font-size: 1.7rem; font-weight: 650; margin: 0.4rem 0 0.3rem; }
#heading p { margin: 0.1rem 0; }
#heading { padding: 0; }
#notice:not(:has(.notice)) { display: none; }
#examples { gap: 0.4rem; }
.results .grid-wrap { max-height: 640px; }
.results .grid-wrap { overflow-y: auto; }
.said { margin: 0.8rem 0 0; }
#point-a img, #response-b img { width: 100%; height: 100%; object-fit: contain; }
.results .grid-container { grid-auto-rows: min-content !important; grid-template-rows: none !important;
  align-items: start; }
.results .thumbnail-lg { aspect-ratio: auto; height: auto; }
.results .thumbnail-lg img { max-height: 420px; }
.quiet { color: var(--body-text-color-subdued); font-size: 0.9rem; }
.verdict { border-left: 4px solid var(--neutral-400); padding: 0.5rem 0.9rem; background: var(--neutral-50);
  border-radius: 4px; color: var(--neutral-800); }
.verdict span { color: var(--neutral-500); margin-right: 0.4rem; }
.verdict.yes { border-color: #16a34a; background: #f0fdf4; }
.verdict.no { border-color: #d97706; background: #fffbeb; }
.notice { border: 1px solid #fca5a5; background: #fef2f2; color: #7f1d1d; border-radius: 6px; padding: 0.5rem 0.9rem; }
.notice p { margin: 0.2rem 0; color: inherit; }
#cutouts .thumbnail-item img, #cutouts .media-button img, #cutouts .preview img {
  background: repeating-conic-gradient(#e5e7eb 0% 25%, #ffffff 0% 50%) 50% / 16px 16px; }
#point-a img { cursor: crosshair; }
footer { display: none !important; }
"""


def theme() -> Any:
    """A light, plain theme whose fonts are the visitor's own."""
    import gradio as gr

    return gr.themes.Default(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        font=("system-ui", "Segoe UI", "Helvetica", "Arial", "sans-serif"),
        font_mono=("ui-monospace", "Menlo", "Consolas", "monospace"),
    )
