"""Files: atomic writes, checked weight files, the Hub client, readers of what others published."""
