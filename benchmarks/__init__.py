"""The same work on aiodimse and on its peers, side by side: `make bench`. How to read it: README.md beside this."""
