"""The viewer: a local web page over a store, which it only reads."""
