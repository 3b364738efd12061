"""Files: atomic writes, checked weight files, the Hub client, readers of files that others published."""
