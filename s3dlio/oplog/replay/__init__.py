"""The replay of op-logs: what was recorded happens again, at its times or as fast as its dependencies allow."""
