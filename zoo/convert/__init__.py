"""Published weights of other libraries, converted: one file per family."""
