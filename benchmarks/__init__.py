"""`make bench`: the same work on aiodimse and on its peers, side by side. README.md describes how to read it."""
