"""The page about a run, section by section."""
