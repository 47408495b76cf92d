"""The op-log: a row for every storage operation of this process, in a compressed file; and what reads such files."""
