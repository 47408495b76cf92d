"""Reports as pages and pictures: one frame and style for all, for light and dark. No I/O, nothing from elsewhere."""
