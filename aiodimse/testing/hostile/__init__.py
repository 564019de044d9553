"""Tests a provider against hostile, broken and foreign peers. Each case says which answer it must get.

    python -m aiodimse.testing.hostile HOST PORT [--called AE] [--only WORDS]
                                                 [--waits SECONDS] [--silent-at-once N] [--fin]

connects to a live provider with plain sockets. It uses bytes of its own and the standard library, and nothing else of
aiodimse. It prints a table with each case, the expected and the actual answer, and the time until the connection was
closed. Meanwhile a well-behaved peer sends C-ECHOs. The exit status is 0 if every answer is as expected.

Cases of silence end by the provider's own deadlines (ARTIM and others). They are left out without --waits, which gives
the seconds that these take; N of them run at a time. PS3.8 defines only ARTIM, so any end of the connection is accepted
in them, unless --fin asks for the behavior of aiodimse. Cases that stop after each byte of a conversation share a line
if their results are the same: `silence behind each byte of a C-STORE-RQ: 1-135`.

The modules are wire (bytes), case (what a case is), cases (the table), every_byte (cases that stop at each byte) and
run (the runner).
"""
