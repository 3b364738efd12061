"""Released weights: loading, exporting, publishing and verifying them, and their cards."""
