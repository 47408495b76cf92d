"""How bytes live: libc calls without copies, pooled page-aligned buffers, and the view that users hold."""
