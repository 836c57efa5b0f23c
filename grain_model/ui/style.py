"""How the page looks: theme, style sheet and head."""

from __future__ import annotations

import gradio as gr

# System fonts only: a named web font would make every visitor's browser ask another host for it.
_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.sky,
    secondary_hue=gr.themes.colors.sky,
    neutral_hue=gr.themes.colors.slate,
    radius_size=gr.themes.sizes.radius_md,
    font=_SANS,
    font_mono=_MONO,
).set(
    body_background_fill="*neutral_100",
    # The theme's own greys and blues stay under a contrast of 4.5 to 1 on its light background.
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_400",
    block_label_text_color="*neutral_700",
    block_label_text_color_dark="*neutral_200",
    block_label_background_fill="transparent",
    block_label_background_fill_dark="transparent",
    block_title_text_color="*neutral_700",
    block_title_text_color_dark="*neutral_200",
    block_title_background_fill="transparent",
    block_title_background_fill_dark="transparent",
    block_title_padding="0",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_600",
)

HEAD = '<meta name="color-scheme" content="light dark">'

CSS = """
#introduction h1 { margin: 0 0 .25rem; }
#introduction p { color: var(--body-text-color-subdued); }

/* A label stands above its picture, never on it; the picture takes what is left of the block. */
.captioned { display: flex !important; flex-direction: column; }
.captioned > label[data-testid="block-label"] {
  position: static; flex: none; display: flex; width: fit-content; margin: .45rem .6rem; padding: 0;
  border: 0; box-shadow: none;
}
.captioned > .image-container { position: static; flex: 1; min-height: 0; height: auto; }
.captioned .icon-button-wrapper { top: .25rem; right: .25rem; border: 0; box-shadow: none; background: transparent; }

.tab-container button.selected { color: var(--primary-700); }
.dark .tab-container button.selected { color: var(--primary-400); }

/* A failure is told by a message; the word "Error" across a component would cover what it takes to go on. */
[data-testid="status-tracker"]:has(> .error) { display: none !important; }

/* There is one link alone, with nothing to part it from. */
footer .divider { display: none; }

#entry { align-items: stretch; }
#micrograph { flex: 1; height: auto !important; min-height: 480px; max-height: 640px; }
@media (max-width: 640px) { #micrograph { min-height: 320px; } }

#examples .gallery-container, #examples .grid-wrap { height: auto; min-height: 0; max-height: none; }
#examples .grid-wrap { padding: 0 .5rem .5rem; }
#examples .grid-container { gap: .5rem; padding: 0; }
#examples .thumbnail-lg { aspect-ratio: 4 / 3; }
#examples .caption-label { max-width: calc(100% - .5rem); font-size: .75rem; opacity: 1;
  white-space: normal; }

@media (max-width: 640px) {
  #examples .grid-container { grid-template-columns: repeat(2, minmax(0, 1fr)) !important; }
}

/* Buttons beside a field stand at its foot and keep their own height. */
#bar-row, #link-row { align-items: end; }
.clicked img { cursor: crosshair; }

/* The plot is drawn dark on white: its white takes the page's own colour, on a dark page after an inversion. */
#distribution img { mix-blend-mode: multiply; }
.dark #distribution img { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen; }

#count { padding: 0; }
.count-card { box-sizing: border-box; padding: .25rem 1rem 1rem; display: flex; flex-direction: column; gap: .75rem; }
.count-card .count { text-align: center; line-height: 1.1; }
.count-card .count strong { display: block; font-size: clamp(3rem, 6vw, 4.25rem); font-weight: 700; line-height: 1;
  color: var(--body-text-color); font-variant-numeric: tabular-nums; }
.count-card .count span { color: var(--body-text-color-subdued); }
.count-card dl { display: grid; grid-template-columns: auto auto; gap: .3rem .9rem; margin: 0; }
.count-card dt { color: var(--body-text-color-subdued); }
.count-card dd { margin: 0; text-align: right; text-wrap: balance; color: var(--body-text-color);
  font-variant-numeric: tabular-nums; }
@media (max-width: 640px) {
  .count-card { padding: .25rem .25rem 1rem; }
  /* The count first: the pictures fill a screen each. */
  #result-pictures > .column { order: -1; }
}

#batch-table th * { white-space: nowrap; overflow-wrap: normal; word-break: normal; }
#batch-table td * { overflow-wrap: anywhere; }
.batch-card { box-sizing: border-box; padding: .25rem 1rem 1rem; color: var(--body-text-color); }
.batch-card h3 { margin: 0 0 .5rem; }
/* The progress bar and the place in the queue stand here meanwhile. */
.batch-card.unfinished { padding-top: 5rem; }
.batch-card table { width: 100%; border: 0; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.batch-card tr { border: 0; }
.batch-card th, .batch-card td { padding: .3rem .75rem .3rem 0; text-align: left; vertical-align: top;
  border: 0; border-bottom: 1px solid var(--border-color-primary); }
.batch-card tr > :last-child { padding-right: 0; }
.batch-card p { margin: .6rem 0 0; overflow-wrap: anywhere; }
@media (max-width: 640px) {
  #batch-card .progress-text.meta-text-center { top: 2.75rem; transform: none; }
  .batch-card { padding: .25rem .25rem .75rem; }
  .batch-card table { font-size: .85em; }
  .batch-card th, .batch-card td { padding-right: .4rem; }
}
.batch-card th { color: var(--body-text-color-subdued); font-weight: 500; }
.batch-card .number { text-align: right; }

.count-card .notes, .batch-card .notes, #question { border-left: 3px solid #d97706;
  background: color-mix(in srgb, #d97706 12%, transparent); color: var(--body-text-color); }
.count-card .notes, .batch-card .notes { margin: 0; padding: .5rem .8rem; list-style: none; font-size: .9em;
  overflow-wrap: anywhere; }
.batch-card .notes { margin-top: .75rem; }
.notes li + li { margin-top: .4rem; }
#question { padding: .75rem 1rem; border-radius: var(--radius-md); }
"""
