"""Self-contained HTML pages: `kit` has what any page is made of, `run` the page of `dmf report`.

In `run`, `finished_run` finds what a run left, `probe` asks its model, and the `*_section` modules say it in words.
"""
