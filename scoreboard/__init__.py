"""`make scoreboard`: what a peer, a disk or a deadline can do, as figures (`python -m scoreboard`)."""
