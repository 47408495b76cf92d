"""One module per command (or per family of tiny ones); each has functions ``run(context)`` that the parser names."""
