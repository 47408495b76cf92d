"""How bytes live: libc calls without copies, pooled page-aligned buffers, and the view that users hold."""

from s3dlio.memory.pool import BufferPool, PoolStats, default_pool
from s3dlio.memory.view import BytesView

__all__ = ["BufferPool", "BytesView", "PoolStats", "default_pool"]
