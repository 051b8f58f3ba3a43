"""Self-contained HTML pages: `dmf report` of a run and the page of `dmf compare`.

`page` has the blocks that a page is made of and writes it, `figures` draws the pictures in it; neither knows what they
show. `finished_run` finds what a run left, `probe` asks its model, and the `*_section` modules say it in words.
"""
