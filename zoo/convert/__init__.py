"""Published weights of other libraries, converted: one file a family."""
