"""What a rude, broken or foreign peer may do to a provider, case by case, with the answer that each must get.

    python -m aiodimse.testing.hostile HOST PORT [--called AE] [--only WORDS]
                                                 [--waits SECONDS] [--silent-at-once N] [--fin]

talks to a live provider from plain sockets: own bytes, the standard library, nothing of the rest of aiodimse. It prints
a table of every case, what was to come, what came and when the connection closed, and echoes as a good peer meanwhile.
Exit status 0 when all is as it must be. Cases of silence need the provider's own deadlines (ARTIM and the like) and are
left out without --waits, so many seconds; N of them wait at once. PS3.8 has ARTIM alone, so that any end of the
connection will do there, unless --fin asks for what aiodimse does. Cases behind each byte of a conversation have one
line where they went alike: `silence behind each byte of a C-STORE-RQ: 1-135`.

wire: bytes. case: what a case is. cases: the table. every_byte: those that stop at each byte. run: the runner.
"""
