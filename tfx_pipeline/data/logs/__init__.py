"""From log files to clean rows: finding, checking and reading tables, and the quarantine of what cannot be used."""
