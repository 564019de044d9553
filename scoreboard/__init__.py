"""`make scoreboard`: measures what hostile peers, failing disks and deadlines can do (`python -m scoreboard`)."""
