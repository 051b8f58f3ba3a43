"""Files of a run: written whole or not at all, held by one process, named once, and digested."""
