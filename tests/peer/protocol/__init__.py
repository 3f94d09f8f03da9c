"""The weir protocol, version 1, as docs/PROTOCOL.md describes it, sharing no code with weir. One module an idea; nothing here opens a socket."""
