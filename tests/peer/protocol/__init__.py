"""The weir protocol, version 1, written from docs/PROTOCOL.md alone. One module an idea; nothing here opens a socket."""
